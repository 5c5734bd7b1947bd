"""Nothing that comes from outside of the operator is without a bound: no field of any document."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from largest_resource import largest_size
from mistral_operator.api.crd import resource_schema
from mistral_operator.scale_to_zero import ActivatorDocument, Terms
from mistral_server.contract import SignalDocument, TerminationReport

Schema = dict[str, Any]

DOCUMENTS: tuple[type[BaseModel], ...] = (
    SignalDocument,
    TerminationReport,
    ActivatorDocument,
    Terms,
)
"""What pods and activators send. The settings of the server go the other way."""

LONGEST_TEXT = 4096


def unbounded(schema: Schema, defs: Schema, path: str) -> Iterator[str]:
    """Yield the path of each part of a schema that can grow without end."""
    if "$ref" in schema:
        schema = defs[schema["$ref"].removeprefix("#/$defs/")] | schema
    options = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if options and not schema.get("x-kubernetes-int-or-string"):
        for option in options:
            yield from unbounded(option, defs, path)
        return
    if not _is_bounded(schema):
        yield path
    for name, part in schema.get("properties", {}).items():
        yield from unbounded(part, defs, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from unbounded(schema[key], defs, f"{path}[]")


def _is_bounded(schema: Schema) -> bool:
    if "enum" in schema or "const" in schema:
        return True
    if schema.get("x-kubernetes-int-or-string"):
        # `contextLength` has a rule instead, which states the one text and the numbers.
        return schema.get("maxLength", LONGEST_TEXT + 1) <= LONGEST_TEXT or bool(
            schema.get("x-kubernetes-validations")
        )
    match schema.get("type"):
        case "string":
            return bool(schema.get("maxLength", LONGEST_TEXT + 1) <= LONGEST_TEXT)
        case "integer" | "number":
            rules = [one["rule"] for one in schema.get("x-kubernetes-validations", ())]
            return {"minimum", "maximum"} <= schema.keys() or any("<=" in one for one in rules)
        case "array":
            return "maxItems" in schema
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return "maxProperties" in schema and _has_bounded_keys(schema)
        case "object" | "boolean":
            return True
        case _:
            return False


def _has_bounded_keys(schema: Schema) -> bool:
    keys = schema.get("propertyNames", {})
    rules = [one["rule"] for one in schema.get("x-kubernetes-validations", ())]
    return bool({"enum", "maxLength"} & keys.keys()) or any("self.all(key, " in r for r in rules)


def test_every_part_of_the_resource_has_a_bound() -> None:
    assert list(unbounded(resource_schema(), {}, "")) == []


def test_the_largest_resource_is_small_enough_for_hundreds_of_them() -> None:
    sizes = {name: largest_size(one) for name, one in resource_schema()["properties"].items()}

    assert sizes["spec"] < 335_000
    assert sizes["status"] < 300_000


@pytest.mark.parametrize("model", DOCUMENTS)
def test_every_part_of_a_document_of_a_pod_has_a_bound(model: type[BaseModel]) -> None:
    schema = model.model_json_schema()

    assert list(unbounded(schema, schema.get("$defs", {}), model.__name__)) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "string", "maxLength": LONGEST_TEXT + 1},
        {"type": "integer", "minimum": 0},
        {"type": "number", "maximum": 1},
        {"type": "array", "items": {"type": "boolean"}},
        {"type": "array", "maxItems": 1, "items": {"type": "string"}},
        {"type": "object", "additionalProperties": {"type": "boolean"}},
        {"type": "object", "maxProperties": 2, "additionalProperties": {"type": "boolean"}},
        {"type": "object", "properties": {"text": {"type": "string"}}},
        {"x-kubernetes-int-or-string": True},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {},
    ],
    ids=str,
)
def test_the_search_finds_what_has_no_bound(schema: Schema) -> None:
    assert len(list(unbounded(schema, {}, ""))) == 1
