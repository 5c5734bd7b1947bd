"""Reads the Events about one object, as far as the operator may."""

from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError, Unavailable
from mistral_operator.kube.kinds import EVENT
from mistral_operator.kube.transport import Object


async def events_about(cluster: Cluster, namespace: str, uid: str) -> list[Object]:
    """Return the Events about an object, none without the permission.

    Raises:
        Unavailable: the API server cannot be reached.
    """
    try:
        return await cluster.list_some(EVENT, namespace, f"involvedObject.uid={uid}")
    except Unavailable:
        raise
    except ClusterError:
        return []
