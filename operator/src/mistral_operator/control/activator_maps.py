"""The ConfigMaps that the activators read: written as a whole, in the operator's own namespace."""

import logging
from collections.abc import Mapping

from mistral_operator.kube import kinds, names
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError, Unavailable
from mistral_operator.kube.transport import Object

log = logging.getLogger(__name__)

_ATTEMPTS = 3
"""Attempts to remove the entries of others while someone edits the map at the same time."""
_CHANGED = 422
"""Status of a JSON Patch whose test of the resource version does not hold."""
_SHOWN = 5
"""Maximum number of entries that a log line names."""


async def write_map(
    cluster: Cluster,
    namespace: str,
    name: str,
    data: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """Write a map and return it as it is then.

    Server-side apply leaves the entries of other managers: of an edit, or of a backup that was
    restored. They are removed by a patch. If that is rejected, they are logged and stay.

    Raises:
        ClusterError: it cannot be written.
    """
    live: Object = {}
    for _ in range(_ATTEMPTS):
        live = await cluster.apply(_config_map(namespace, name, data, annotations), force=True)
        foreign = sorted(data_of(live).keys() - data.keys())
        if not foreign:
            break
        shown = ", ".join(foreign[:_SHOWN])
        log.info("ConfigMap %s: removing %d entries of others: %s", name, len(foreign), shown)
        try:
            operations = _replace_data(live, data)
            live = await cluster.patch(kinds.CONFIG_MAP, namespace, name, operations)
            break
        except Unavailable:
            raise
        except ClusterError as error:
            log.warning("ConfigMap %s: cannot remove entries of others: %s", name, error)
            if error.status != _CHANGED:
                break
    return live


def data_of(body: Object) -> dict[str, str]:
    """Return the data of a ConfigMap."""
    return body.get("data") or {}


def _replace_data(live: Object, data: Mapping[str, str]) -> list[Object]:
    """Return the operations that replace the data, unless the object was changed meanwhile."""
    version = live["metadata"]["resourceVersion"]
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "replace", "path": "/data", "value": dict(data)},
    ]


def _config_map(
    namespace: str, name: str, data: Mapping[str, str], annotations: Mapping[str, str] | None
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY},
            **({"annotations": dict(annotations)} if annotations else {}),
        },
        "data": dict(data),
    }
