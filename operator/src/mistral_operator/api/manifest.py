"""Parses a manifest from a file as strictly as `kubectl apply`.

The operator itself ignores unknown fields, so that it works with a newer CRD. In a file, an unknown
field is a mistake.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from mistral_operator.api.crd import resource_schema
from mistral_operator.api.resource import NAME_RULE, Resource, parse_resource
from mistral_operator.kube.errors import InvalidResource

_COMMON_FIELDS = ("apiVersion", "kind", "metadata")

_MIN_SIMILARITY = 0.7
"""Minimum similarity of two names, from 0 to 1, for a suggestion."""

Schema = Mapping[str, Any]


def parse_manifest(document: Mapping[str, Any]) -> Resource:
    """Return the resource of a manifest.

    Raises:
        InvalidResource: the API server would reject it or ignore a field of it.
    """
    schema = resource_schema()
    for path in _unknown({**document, **dict.fromkeys(_COMMON_FIELDS)}, schema, ""):
        nearest = _nearest(path, list(_paths(schema, "")))
        hint = f"; did you mean {nearest}?" if nearest else ""
        raise InvalidResource(path, f"unknown field{hint}")
    name = document["metadata"]["name"]
    if not NAME_RULE.permits(name):
        raise InvalidResource("metadata.name", NAME_RULE.message)
    return parse_resource(document, strict=True)


def _unknown(value: Any, schema: Schema, path: str) -> Iterator[str]:
    """Yield the path of every field that is not in the schema, without status."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _unknown(item, schema.get("items", {}), f"{path}[{number}]")
    if not isinstance(value, dict) or "properties" not in schema:
        return
    properties = schema["properties"]
    for key, inner in value.items():
        here = f"{path}.{key}" if path else str(key)
        if key in properties:
            yield from _unknown(inner, properties[key], here)
        elif path or key not in (*_COMMON_FIELDS, "status"):
            yield here


def _paths(schema: Schema, path: str) -> Iterator[str]:
    """Yield the path of every field that users can set."""
    for name, inner in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        if here != "status":
            yield here
            yield from _paths(inner.get("items", inner), here)


def _nearest(path: str, fields: list[str]) -> str | None:
    """Return the most similar field: a sibling, or else one elsewhere."""
    parent, _, name = _without_numbers(path).rpartition(".")
    beside = {one.rpartition(".")[2]: one for one in fields if one.rpartition(".")[0] == parent}
    anywhere = {one.rpartition(".")[2]: one for one in reversed(fields)}
    for candidates in (beside, anywhere):
        lowered = {one.lower(): whole for one, whole in candidates.items()}
        if matches := difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=_MIN_SIMILARITY):
            return lowered[matches[0]]
    return None


def _without_numbers(path: str) -> str:
    """Return a path without list indexes."""
    return ".".join(part.partition("[")[0] for part in path.split("."))
