"""What a real API server makes of the writes to the activators' maps. No operator runs."""

import json

import pytest

from cluster_namespace import Namespace
from mistral_operator.control.activator_maps import data_of, write_map
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError

NAME = "map"


async def written(namespace: Namespace, data: dict[str, str]) -> dict[str, str]:
    """Write a map and return the data that it has for other clients."""
    async with await Cluster.connect(1, str(namespace.cluster.kubeconfig)) as cluster:
        answered = data_of(await write_map(cluster, namespace.name, NAME, data))
    live = dict((namespace.get("configmap", NAME) or {}).get("data") or {})
    assert answered == live
    return live


async def test_entries_of_others_are_removed(unserved: Namespace) -> None:
    data = {"20000": "a", "20001": "b"}
    assert await written(unserved, data) == data
    unserved.kubectl("patch", "configmap", NAME, "-p", json.dumps({"data": {"20007": "c"}}))

    assert await written(unserved, data) == data


@pytest.mark.parametrize("data", [{}, {"20000": "a"}], ids=["all", "some"])
async def test_entries_that_a_restored_backup_owns_are_removed(
    unserved: Namespace, data: dict[str, str]
) -> None:
    before = {"20000": "a", "20001": "b"}
    metadata = {"name": NAME}
    backup = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": before}
    unserved.kubectl("apply", "--server-side", "-f", "-", text=json.dumps(backup))
    assert await written(unserved, before) == before

    assert await written(unserved, data) == data
    assert await written(unserved, {"20002": "c"}) == {"20002": "c"}


async def test_a_map_that_was_changed_meanwhile_is_not_replaced(unserved: Namespace) -> None:
    await written(unserved, {"20000": "a"})
    async with await Cluster.connect(1, str(unserved.cluster.kubeconfig)) as cluster:
        with pytest.raises(ClusterError) as raised:
            await cluster.patch(
                *(kinds.CONFIG_MAP, unserved.name, NAME),
                [
                    {"op": "test", "path": "/metadata/resourceVersion", "value": "1"},
                    {"op": "replace", "path": "/data", "value": {}},
                ],
            )

    assert raised.value.status == 422
