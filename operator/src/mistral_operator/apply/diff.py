"""Does a live object already hold every field that we want? Pure.

The API server fills in defaults and other writers add fields of their own, so equality would never
hold. A field that we stopped wanting is not found here but by the digest (see `render.metadata`).
"""

from typing import Any

from mistral_operator.kube.quantities import same_quantity


def first_difference(desired: Any, live: Any, path: str = "") -> str | None:
    """Return where the live object first misses a desired value, as a JSON pointer, or None.

    Lists are compared item by item: the API server keeps their order, and an item that
    another owner added to one of our lists counts as a difference. So does a field that weakens a
    pod, although it is no field of ours.
    """
    if isinstance(desired, dict):
        return _mapping_difference(desired, live, path)
    if _is_list(desired):
        return _sequence_difference(desired, live, path)
    if desired == live or same_quantity(desired, live):
        return None
    return path


def _mapping_difference(desired: dict[str, Any], live: Any, path: str) -> str | None:
    if not isinstance(live, dict):
        # The API server drops empty maps; wanting nothing and having nothing is the same.
        return path if desired else None
    # Before the desired fields: with hostNetwork, the API server sets each hostPort again.
    for key in sorted(live.keys() - desired.keys()):
        if live[key] is not None and _is_closed(path, key, live[key]):
            return f"{path}/{_escaped(key)}"
    for key, value in desired.items():
        if key not in live and value in ({}, []):
            continue
        difference = first_difference(value, live.get(key), f"{path}/{_escaped(key)}")
        if difference is not None:
            return difference
    return None


_HOST_NAMESPACES = {"hostNetwork", "hostPID", "hostIPC"}
_RESTRICTED = ("/securityContext", "/securityContext/capabilities")


def _is_closed(path: str, key: str, value: Any) -> bool:
    """Tell whether a field may not be there unless we want it: it would weaken a pod."""
    if path.endswith(_RESTRICTED):
        return True  # also with 0 or false: runAsUser, runAsNonRoot
    closed = _HOST_NAMESPACES if path.endswith("/template/spec") else {"hostPort"}
    return key in closed and bool(value)


def _sequence_difference(desired: list[Any] | tuple[Any, ...], live: Any, path: str) -> str | None:
    if live is None and not desired:
        # Some lists, such as a slice's endpoints, come back as null when they are empty.
        return None
    if not _is_list(live) or len(live) != len(desired):
        return path
    for index, (one, other) in enumerate(zip(desired, live, strict=True)):
        difference = first_difference(one, other, f"{path}/{index}")
        if difference is not None:
            return difference
    return None


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def repair(desired: Any, pointer: str) -> dict[str, Any]:
    """Return the JSON Patch operation that replaces a difference by the desired value, if any.

    Server-side apply merges lists by key: it cannot remove an item that another owner added to a
    list of ours, and an edited key looks to it like such an item.
    """
    parent, value = None, desired
    for part in pointer.split("/")[1:]:
        if isinstance(value, dict) and _unescaped(part) not in value:
            return {"op": "remove", "path": pointer}
        parent, value = value, _step(value, part)
    operation = "replace" if isinstance(parent, list) else "add"
    return {"op": operation, "path": pointer, "value": value}


def _step(value: Any, part: str) -> Any:
    if isinstance(value, list):
        return value[int(part)]
    return value[_unescaped(part)]


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def _escaped(key: str) -> str:
    """Escape a key as RFC 6901 wants it."""
    return key.replace("~", "~0").replace("/", "~1")
