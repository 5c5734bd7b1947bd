"""No client's schema exhausts the memory or the time of the API process."""

import json
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from held_memory import held_bytes
from mistral_server.gate.schemas import MEMORY_LIMIT_BYTES, UnusableSchema, schema_errors

COUNT = 16
"""Different schemas of a kind. Kept without bounds they took up to 800 MiB."""


def wrapped(depth: int, leaf: Any, wrap: Callable[[Any], Any]) -> Any:
    """Return a schema within a schema within a schema."""
    for _ in range(depth):
        leaf = wrap(leaf)
    return leaf


def greedy(pattern: str, count: int = 1) -> Any:
    """Return a schema that requires strings to match patterns."""
    return {"properties": {f"x{at}": {"pattern": pattern} for at in range(count)}}


LARGE: dict[str, Any] = {
    "many parts": {"allOf": [{}] * 10_000},
    "many objects without other properties": {"unevaluatedProperties": {}, "allOf": [{}] * 8_000},
    "parts that are copied at each level": wrapped(
        200, {"allOf": [{}] * 5_000}, lambda x: {"not": x}
    ),
    "a long pattern": greedy("(a{1,1000}){1,50}"),
    "many long patterns": greedy(r"^[\p{L} ]{1,40}$", 20),
    "groups": greedy("(a)" * 2_700),
}


@pytest.mark.parametrize("title", LARGE)
def test_schemas_leave_little_memory_behind(title: str) -> None:
    held = held_bytes()
    for number in range(COUNT):
        schema = json.dumps(LARGE[title] | {"description": str(number)}).encode()
        with suppress(UnusableSchema):
            schema_errors(schema, {"x0": "a" * 3_000})

    assert held_bytes() - held < MEMORY_LIMIT_BYTES + 2**22


ORDINARY = {
    r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?$": "2025-01-31T10:00Z",
    "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$": "01234567-89ab-cdef-0123-456789abcdef",
    r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$": "-12.50",
    r"^[\w.+-]+@[\w-]+\.[\w.-]+$": "a.b@example.org",
    "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$": "a-name",
    r"^\p{L}{1,64}$": "Ærø",
    r"^\S{1,256}$": "word",
    "^.{1,500}$": "a text",
}
"""Patterns as callers write them, and what matches them."""


def test_ordinary_patterns_are_usable() -> None:
    patterns = {f"x{at}": {"pattern": pattern} for at, pattern in enumerate(ORDINARY)}
    matching = {f"x{at}": text for at, text in enumerate(ORDINARY.values())}
    schema = json.dumps({"properties": patterns}).encode()

    assert schema_errors(schema, matching) == []
    assert schema_errors(schema, dict.fromkeys(matching, "")) == ["pattern"] * len(ORDINARY)


def test_an_ordinary_pattern_is_used_for_a_long_text() -> None:
    schema = json.dumps({"properties": {"content": {"pattern": "^[A-Za-z0-9+/]*=*$"}}}).encode()

    assert schema_errors(schema, {"content": "QUJD" * 40_000}) == []
    assert schema_errors(schema, {"content": "QUJD" * 40_000 + "-"}) == ["pattern"]


USED: dict[str, Any] = {
    "parts put together": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b~1c%20d"}]},
    "a tree": {"$ref": "#/$defs/tree"},
}
"""Schemas with references as callers write them."""


@pytest.mark.parametrize("title", USED)
def test_ordinary_references_are_usable(title: str) -> None:
    parts = {
        "a": {"properties": {"x": {"type": "integer"}}},
        "b/c d": {"properties": {"y": {"type": "integer"}}},
        "tree": {
            "properties": {
                "x": {"type": "integer"},
                "y": {"type": "integer"},
                "parts": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
            }
        },
    }
    whole = USED[title] | {"$id": "tool", "$defs": parts, "unevaluatedProperties": False}
    schema = json.dumps(whole).encode()
    tree = wrapped(6, {"x": 1}, lambda part: {"parts": [part, part]})

    assert schema_errors(schema, {"x": 1, "y": 2}) == []
    assert schema_errors(schema, {"x": 1, "z": 2}) == ["unevaluatedProperties"]
    if title == "a tree":
        assert schema_errors(schema, tree) == []


def deep(levels: int) -> Any:
    """Return arguments within arguments."""
    return wrapped(levels, 1, lambda x: {"x": x})


def references(depth: int, name: Callable[[int], Any], refer: Callable[[int], str]) -> str:
    """Return a schema that unfolds into 2 ** depth parts of a property."""
    parts = {f"d{at}": name(at) | {"allOf": [{"$ref": refer(at + 1)}] * 2} for at in range(depth)}
    last = {f"d{depth}": name(depth) | {"type": "integer"}}
    return json.dumps({"$defs": parts | last, "properties": {"x": {"$ref": refer(0)}}})


BITS = "".join(random.Random(1).choices("01", k=400_000))

SLOW: dict[str, tuple[str, Any]] = {
    "a pattern with many states and a long text": (
        json.dumps(greedy("[01]*1[01]{900}$")),
        {"x0": BITS[:-901] + "0" + BITS[-900:]},
    ),
    "many patterns and one long text": (
        json.dumps({"allOf": [{"pattern": f"[01]*1[01]{{5}}{at}$"} for at in range(2, 900)]}),
        BITS,
    ),
    "one pattern many times and one long text": (
        json.dumps({"allOf": [{"pattern": "[01]*1[01]{50}$"}] * 900}),
        BITS[:199_949] + "0" + BITS[:50],
    ),
    "many references to one pattern": (
        references(13, lambda _at: {}, "#/$defs/d{}".format).replace(
            '{"type": "integer"}', '{"pattern": "[01]*1[01]{50}$"}'
        ),
        {"x": BITS[:-51] + "0" + BITS[-50:]},
    ),
    "properties that are evaluated again": (
        json.dumps(
            wrapped(
                30,
                {"properties": {"x": {}}},
                lambda x: {"unevaluatedProperties": False, "allOf": [x]},
            )
        ),
        deep(30),
    ),
    "items that are evaluated again": (
        json.dumps(
            {
                "properties": {
                    "x": wrapped(
                        30,
                        {"properties": {"x": {}}},
                        lambda x: {"unevaluatedItems": False, "contains": x},
                    )
                }
            }
        ),
        {"x": wrapped(30, {"x": 1}, lambda x: [x])},
    ),
    "escaped references": (
        references(40, lambda _at: {}, "#/$defs/d{}".format).replace("$ref", "\\u0024ref"),
        {"x": 1},
    ),
    "references with percent signs": (
        references(40, lambda _at: {}, "#/%24defs/d{}".format),
        {"x": 1},
    ),
    "anchors": (references(40, lambda at: {"$anchor": f"a{at}"}, "#a{}".format), {"x": 1}),
    "ids": (references(40, lambda at: {"$id": f"u{at}"}, "u{}".format), {"x": 1}),
    "paths that start anew": (
        json.dumps(
            {
                "properties": {
                    "x": json.loads(references(40, lambda _at: {}, "#/$defs/d{}".format))
                    | {"$id": "u"}
                }
            }
        ),
        {"x": {"x": 1}},
    ),
}


@pytest.mark.parametrize("title", SLOW)
def test_validation_with_a_schema_takes_bounded_time(title: str) -> None:
    schema, value = SLOW[title]
    started = time.process_time()
    with pytest.raises(UnusableSchema):
        schema_errors(schema.encode(), value)

    assert time.process_time() - started < 2  # of CPU; they take milliseconds
