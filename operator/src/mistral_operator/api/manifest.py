"""Parses a manifest as strictly as `kubectl apply`.

The operator itself ignores unknown fields, so that it works with a newer CRD. In a file, an unknown
field is a mistake.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from mistral_operator.api.crd import resource_schema
from mistral_operator.api.manifest_metadata import checked_metadata
from mistral_operator.api.resource import Resource, parse_resource
from mistral_operator.api.suggestions import hint, shown_key
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.names import API_VERSION

_COMMON_FIELDS = ("apiVersion", "kind", "metadata")

Schema = Mapping[str, Any]


def parse_manifest(document: Mapping[str, Any]) -> Resource:
    """Return the resource of a manifest.

    Raises:
        InvalidResource: the API server would reject it or ignore a field of it.
    """
    version = document.get("apiVersion")
    if version is None:
        raise InvalidResource("apiVersion", f"apiVersion is not set: use {API_VERSION}")
    if version != API_VERSION:
        raise InvalidResource(
            "apiVersion", f"apiVersion {version} is not supported: use {API_VERSION}"
        )
    metadata = checked_metadata(document.get("metadata"))
    schema = resource_schema()
    pruned = without_nulls(document, schema)
    for parent, key in _unknown(pruned, schema, ""):
        without_numbers = ".".join(part.partition("[")[0] for part in parent.split("."))
        path = f"{parent}.{shown_key(key)}" if parent else shown_key(key)
        suggestion = hint(without_numbers, key, list(_paths(schema, "")))
        raise InvalidResource(path, f"unknown field{suggestion}")
    if "spec" not in pruned:
        raise InvalidResource(
            "spec", "spec is not set: write `spec: {}` for the recommended deployment"
        )
    return parse_resource({**pruned, "metadata": metadata}, strict=True)


def without_nulls(value: Any, schema: Schema) -> Any:
    """Return a value without the nulls that the API server removes: those of fields.

    It removes them before it sets defaults, so null means unset. In a list the API server rejects
    them, and in a map kubectl does.
    """
    if isinstance(value, list):
        return [without_nulls(item, schema.get("items", {})) for item in value]
    if not isinstance(value, dict):
        return value
    fields = schema.get("properties", {})
    return {
        key: without_nulls(inner, fields.get(key, {}))
        for key, inner in value.items()
        if inner is not None or key not in fields
    }


def _unknown(value: Any, schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    """Yield the parent and the key of every field that is not in the schema, without status."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _unknown(item, schema.get("items", {}), f"{path}[{number}]")
    if not isinstance(value, dict) or "properties" not in schema:
        return
    properties = schema["properties"]
    for key, inner in value.items():
        if key in properties:
            yield from _unknown(inner, properties[key], f"{path}.{key}" if path else key)
        elif path or key not in (*_COMMON_FIELDS, "status"):
            yield path, key


def _paths(schema: Schema, path: str) -> Iterator[str]:
    """Yield the path of every field that users can set."""
    for name, inner in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        if here != "status":
            yield here
            yield from _paths(inner.get("items", inner), here)
