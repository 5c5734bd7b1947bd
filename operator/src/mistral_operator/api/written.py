"""A resource in a file, before an API server has seen it: as strict as `kubectl apply` is.

The operator itself ignores fields that it does not know, so that it survives a newer CRD. Whoever
writes a file means every field in it.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from mistral_operator.api.crd import resource_schema
from mistral_operator.api.resource import NAME_RULE, Resource, parse_resource
from mistral_operator.kube.errors import InvalidResource

_OF_EVERY_OBJECT = ("apiVersion", "kind", "metadata")

_ALIKE = 0.7
"""How alike two names are, from 0 to 1, before one is taken for the other."""

Schema = Mapping[str, Any]


def parse_written(document: Mapping[str, Any]) -> Resource:
    """Return a resource that was read from a file.

    Raises:
        InvalidResource: the API server would refuse it, or ignore a field of it.
    """
    schema = resource_schema()
    for path in _unknown({**document, **dict.fromkeys(_OF_EVERY_OBJECT)}, schema, ""):
        nearest = _nearest(path, list(_paths(schema, "")))
        hint = f"; did you mean {nearest}?" if nearest else ""
        raise InvalidResource(path, f"unknown field{hint}")
    name = document["metadata"]["name"]
    if not NAME_RULE.permits(name):
        raise InvalidResource("metadata.name", NAME_RULE.message)
    return parse_resource(document, strict=True)


def _unknown(value: Any, schema: Schema, path: str) -> Iterator[str]:
    """Yield the path of every field that the schema does not know. Status is not for users."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _unknown(item, schema.get("items", {}), f"{path}[{number}]")
    if not isinstance(value, dict) or "properties" not in schema:
        return
    known = schema["properties"]
    for key, inner in value.items():
        here = f"{path}.{key}" if path else str(key)
        if key in known:
            yield from _unknown(inner, known[key], here)
        elif path or key not in (*_OF_EVERY_OBJECT, "status"):
            yield here


def _paths(schema: Schema, path: str) -> Iterator[str]:
    """Yield the path of every field that a user may write."""
    for name, inner in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        if here != "status":
            yield here
            yield from _paths(inner.get("items", inner), here)


def _nearest(path: str, fields: list[str]) -> str | None:
    """Return the field that was probably meant: one beside it, else one of that name elsewhere."""
    parent, _, name = _without_numbers(path).rpartition(".")
    beside = {one.rpartition(".")[2]: one for one in fields if one.rpartition(".")[0] == parent}
    anywhere = {one.rpartition(".")[2]: one for one in reversed(fields)}
    for known in (beside, anywhere):
        lowered = {one.lower(): whole for one, whole in known.items()}
        if alike := difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=_ALIKE):
            return lowered[alike[0]]
    return None


def _without_numbers(path: str) -> str:
    """Return a path without the positions in lists."""
    return ".".join(part.partition("[")[0] for part in path.split("."))
