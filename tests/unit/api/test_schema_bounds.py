"""Each bound in the CRD's schema is one that the models refuse to cross, too."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from mistral_operator.api import Spec
from mistral_operator.api.crd import resource_schema

Schema = dict[str, Any]
Path = tuple[str | int, ...]

WRONG_TYPES: dict[str, list[Any]] = {
    "integer": ["1", 1.5, True],
    "number": ["0.5"],
    "boolean": ["yes", 1],
    "string": [1, True],
    "array": ["x"],
    "object": ["x", 1],
}
"""What YAML may hold where something else belongs."""

LIMITS = [
    ("spec.engine.maxSequences", "spec.oom.minSequences"),
    ("spec.engine.maxBatchedTokens", "spec.oom.minBatchedTokens"),
    ("spec.engine.gpuMemoryUtilization", "spec.oom.minGpuMemoryUtilization"),
    ("spec.engine.gpuMemoryUtilization", "spec.oom.maxGpuMemoryUtilization"),
    ("spec.images.perPrompt", "spec.oom.minImagesPerPrompt"),
]
"""Fields, and how far `spec.oom` may move each; contextLength states its bounds in a rule."""


def rules(schema: Schema) -> list[str]:
    """Return the rules of a schema in CEL."""
    return [one["rule"] for one in schema.get("x-kubernetes-validations", ())]


def bad_values(schema: Schema) -> Iterator[Any]:
    """Yield values that a schema refuses."""
    if "type" in schema:
        yield from WRONG_TYPES[schema["type"]]
    else:
        yield from (True, 1.5)  # an integer or a string
    if "minimum" in schema:
        yield schema["minimum"] - 1
    if "maximum" in schema:
        yield schema["maximum"] + 1
    if schema.get("minLength"):
        yield ""
    if "maxLength" in schema:
        yield "1" * (schema["maxLength"] + 1)
    if "enum" in schema:
        yield "no such word"
    if "pattern" in schema or any("self.matches(" in rule for rule in rules(schema)):
        yield "\n?"


def crossings(schema: Schema, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield the path of every field below a schema with each value that it refuses."""
    if path:
        yield from ((path, value) for value in bad_values(schema))
    for name, inner in schema.get("properties", {}).items():
        yield from crossings(inner, (*path, name))
    if "items" in schema:
        yield from crossings(schema["items"], (*path, 0))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from crossings(schema["additionalProperties"], (*path, "memory"))


def written(path: Path, value: Any) -> Any:
    """Return a document that holds a value at a path."""
    for part in reversed(path):
        value = [value] if part == 0 else {part: value}
    return value


def at(path: str) -> Schema:
    """Return the schema of a field."""
    schema = resource_schema()
    for part in path.split("."):
        schema = schema["properties"][part]
    return schema


CROSSINGS = list(crossings(at("spec")))


@pytest.mark.parametrize(
    ("path", "value"),
    CROSSINGS,
    ids=[f"{'.'.join(map(str, path))}={str(value)[:20]!r}" for path, value in CROSSINGS],
)
def test_the_models_reject_the_same_field_as_the_schema(path: Path, value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        Spec.model_validate(written(path, value), strict=True)

    assert any(one["loc"][: len(path)] == path for one in refused.value.errors())


@pytest.mark.parametrize(("field", "limit"), LIMITS)
def test_a_memory_remedy_stays_within_the_bounds_of_its_field(field: str, limit: str) -> None:
    bounds = ("minimum", "maximum", "x-kubernetes-validations")

    assert [at(limit).get(one) for one in bounds] == [at(field).get(one) for one in bounds]
