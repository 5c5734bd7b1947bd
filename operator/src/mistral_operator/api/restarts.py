"""Which fields of the spec replace the pods when they change, as their descriptions say."""

from typing import Any

KEEP_PODS = (
    "replicas",
    "suspend",
    "rollout",
    "routing",
    "autoscaling",
    "network",
    "networkPolicy",
    "service",
    "oom",
    "cache.size",
    "cache.storageClassName",
    "cache.accessMode",
    "cache.prefetch",
    "cache.whenDeleted",
    "pod.gpu.memory",
    "pod.serviceAccountAnnotations",
)
"""Fields whose changes keep the pods; all others are in the pod template. A test renders a change
of each field, and compares."""

SENTENCE = "Changes restart the pods."


def restarts_pods(path: str) -> bool:
    """Return whether a change of a field replaces the pods.

    Args:
        path: of the field below `spec`, without the items of lists.
    """
    return not any(path == one or path.startswith(f"{one}.") for one in KEEP_PODS)


def marked(schema: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Return the schema of the spec, in which the description of a field says if it restarts pods.

    Objects say nothing, their fields do.
    """
    result = dict(schema)
    if "items" in result:
        result["items"] = marked(result["items"], path)
    if "properties" in result:
        result["properties"] = {
            name: _field(inner, f"{path}.{name}".removeprefix("."))
            for name, inner in result["properties"].items()
        }
    return result


def _field(schema: dict[str, Any], path: str) -> dict[str, Any]:
    result = marked(schema, path)
    if "properties" in schema or not restarts_pods(path):
        return result
    return result | {"description": f"{schema['description']} {SENTENCE}"}
