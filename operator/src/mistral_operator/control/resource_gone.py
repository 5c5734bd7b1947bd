"""What to do when a resource that the store holds may not exist any more.

A watch can miss a deletion. Then the garbage collector deletes the children of a resource that the
store still holds, and each of these deletions would create the child anew, with an owner that does
not exist. So the API server is asked before a child is created that was there before.
"""

from mistral_operator.api import Resource
from mistral_operator.control.dependencies import Dependencies
from mistral_operator.kube.kinds import RESOURCE
from mistral_operator.kube.objects import Key


class ResourceGone(Exception):
    """A resource was deleted, or replaced by another one of the same name."""


def drop(dependencies: Dependencies, resource: Resource) -> ResourceGone:
    """Drop a resource that does not exist from the store; return the error to raise."""
    key = Key(resource.namespace, resource.name)
    dependencies.store.resources.forget(key, resource.uid)
    return ResourceGone(f"{resource.namespace}/{resource.name} ({resource.uid}) does not exist")


async def confirm(dependencies: Dependencies, resource: Resource) -> None:
    """Read a resource anew.

    Raises:
        ResourceGone: it is deleted or being deleted.
    """
    key = Key(resource.namespace, resource.name)
    body = await dependencies.cluster.get(RESOURCE, *key)
    if body is None:
        raise drop(dependencies, resource)
    if dependencies.store.resources.put(body) is not None:
        dependencies.requeue(key)
    metadata = body["metadata"]
    if metadata["uid"] != resource.uid or "deletionTimestamp" in metadata:
        raise ResourceGone(f"{key.namespace}/{key.name} ({resource.uid}) was deleted")
