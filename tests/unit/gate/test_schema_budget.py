"""Judging tool calls takes a bounded number of steps, whatever schema and arguments are."""

import json
import resource
import time
from typing import Any

import pytest

from gate_engine import Counted, FakeEngine, ask, call, choice, gate
from mistral_server.gate.schema_costs import Budget, _resolve, steps_of
from mistral_server.gate.schemas import TooComplex, schema_errors
from mistral_server.gate.tool_calls import Call, Choice, Tools, evaluate_tool_calls

TOOL_LIMIT = Budget().steps


def items(of: Any) -> dict[str, Any]:
    """Return a schema of a list in `x`."""
    return {"properties": {"x": {"type": "array", "items": of}}}


def repeated(of: Any, doublings: int = 14) -> dict[str, Any]:
    """Return a schema that applies another one thousands of times, by references."""
    parts = {f"a{at}": {"allOf": [{"$ref": f"#/$defs/a{at + 1}"}] * 2} for at in range(doublings)}
    return {"$ref": "#/$defs/a0", "$defs": {**parts, f"a{doublings}": of}}


def nested(value: Any, levels: int = 200) -> Any:
    """Return lists in lists, each long enough that its items are hashed."""
    for _ in range(levels):
        value = [*range(15), value]
    return value


NAMES = {f"k{at}": 0 for at in range(5000)}
ZEROS = [0] * 15_000

WHOLE: dict[str, tuple[Any, Any]] = {
    "a constant of 15,000 numbers, repeated": (repeated({"const": ZEROS}), ZEROS),
    "a constant of 5,000 names, repeated": (repeated({"const": NAMES}), NAMES),
    "an enum of one long list, repeated": (repeated({"enum": [ZEROS]}), ZEROS),
    "a length, repeated": (repeated({"minLength": 1}), "é" * 200_000),
    "5,000 names that depend on one, repeated": (
        repeated({"dependentRequired": {"k0": [*NAMES]}}),
        NAMES,
    ),
    "the same in draft 7": (repeated({"dependencies": {"k0": [*NAMES]}}), NAMES),
    "unique items of unique items": (
        {"uniqueItems": True, "items": {"$ref": "#"}},
        nested("x" * 400_000),
    ),
    "unique lists, repeated": (repeated({"uniqueItems": True}, 12), [[*ZEROS[:900], 1]] * 14),
}
"""What a keyword reads as a whole, in one pair of subschema and value."""


@pytest.mark.parametrize(("schema", "value"), WHOLE.values(), ids=WHOLE)
def test_what_is_read_as_a_whole_costs_its_size(schema: Any, value: Any) -> None:
    before = time.process_time()
    with pytest.raises(TooComplex):
        schema_errors(json.dumps(schema).encode(), value)

    # Half a second on an idle machine, which this one is not.
    assert time.process_time() - before < 2


def test_a_long_reference_is_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved: list[str] = []

    def resolve(document: Any, reference: str) -> Any:
        resolved.append(reference)
        return _resolve(document, reference)

    monkeypatch.setattr("mistral_server.gate.schema_costs._resolve", resolve)
    schema_errors(json.dumps(repeated({"type": "array"}, 9)).encode(), [])

    assert len(resolved) == len({*resolved}) == 10


CHOICES: dict[str, tuple[Any, Any]] = {
    "2,000 alternatives of a long list": (
        {"oneOf": [{"required": ["a"]}] * 2000},
        {"b": [0] * 20_000},
    ),
    "8,192 nested alternatives of a small object": (
        json.loads(json.dumps(repeated({"const": 1}, 13)).replace("allOf", "anyOf")),
        {"x": "y"},
    ),
}


@pytest.mark.parametrize(("schema", "value"), CHOICES.values(), ids=CHOICES)
def test_of_many_alternatives_no_error_is_copied(schema: Any, value: Any) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert schema_errors(json.dumps(schema).encode(), value) == ["anyOf"]
    # In KiB: the copies would take 2 GiB and 100 MiB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


COSTLY: dict[str, tuple[Any, Any]] = {
    "an enum of 9,000 on 1,000 items": (items({"enum": list(range(9000))}), {"x": ["zz"] * 1000}),
    "an enum of 10,000 on 10,000": (items({"enum": list(range(10_000))}), {"x": [9] * 10_000}),
    "3,500 constants on 120 items": (
        items({"anyOf": [{"const": at} for at in range(3500)]}),
        {"x": ["zz"] * 120},
    ),
    "500 required names on 400 items": (
        items({"required": [f"k{at}" for at in range(500)]}),
        {"x": [{}] * 400},
    ),
    "3,000 properties on 100 items": (
        items({"properties": {f"k{at}": {} for at in range(3000)}}),
        {"x": [{}] * 100},
    ),
    "three parts on 50,000 items": (items({"allOf": [{}, {}]}), {"x": [1] * 50_000}),
}


@pytest.mark.parametrize("title", COSTLY)
def test_a_costly_pair_is_too_complex_before_it_is_validated(title: str) -> None:
    schema, value = COSTLY[title]
    budget = Budget()
    with pytest.raises(TooComplex):
        schema_errors(json.dumps(schema).encode(), value, budget)

    assert budget.steps <= 0
    with pytest.raises(TooComplex, match="earlier tool calls"):
        schema_errors(b'{"type":"object"}', {}, Budget(steps=-1))


LARGE: dict[str, tuple[Any, Any]] = {
    "2,000 wrong names": (
        {"propertyNames": {"pattern": "^a+$"}},
        {f"b{at}": 1 for at in range(2000)},
    ),
    "100 items that are none of 500 constants": (
        items({"anyOf": [{"const": at} for at in range(500)]}),
        {"x": ["zz"] * 100},
    ),
    "10,000 items of another type": (items({"type": "integer"}), {"x": ["a"] * 10_000}),
}


@pytest.mark.parametrize("title", LARGE)
def test_of_a_large_value_the_first_violation_is_found(title: str) -> None:
    schema, value = LARGE[title]

    assert len(schema_errors(json.dumps(schema).encode(), value)) == 1


@pytest.mark.parametrize(
    ("schema", "value", "steps"),
    [
        ({"type": "object"}, {}, 1),
        ({"enum": [1, 2, 3]}, 2, 4),
        ({"required": ["a", "b"]}, {"a": 1}, 3),
        ({"properties": {"a": {}, "b": {}}}, {"a": 1}, 4),
        (items({"type": "integer"}), {"x": [1, 2, 3]}, 6),
        ({"uniqueItems": True}, [1, 2, 3], 1),
        ({"uniqueItems": True}, [*range(100, 150)], 1 + 201 // 64),
        ({"const": "a" * 100}, "b" * 200, 1 + (102 + 202) // 64),
        ({"maxLength": 9}, "b" * 200, 1 + 202 // 64),
        ({"type": "string"}, "b" * 200, 1),
        ({"prefixItems": [{}, {}]}, [1, 2, 3], 3),
        ({"items": None}, [1, 2, 3], 1),
    ],
)
def test_steps_are_pairs_and_comparisons(schema: Any, value: Any, steps: int) -> None:
    assert steps_of(schema, value, {}, Budget()) == steps


def test_all_calls_of_a_response_share_one_budget() -> None:
    schema = json.dumps(items({"enum": list(range(1000))})).encode()
    tools = Tools({"f": schema})
    arguments = json.dumps({"x": [1] * 30})
    calls = [Call("f", arguments, f"abcdef{at:03}") for at in range(32)]
    outcomes = [one.outcome.value for one in evaluate_tool_calls(tools, [Choice("", calls)])]

    assert outcomes == sorted(outcomes)  # ok before too_complex
    assert 1 <= outcomes.count("ok") <= TOOL_LIMIT // 30_000
    assert set(outcomes) == {"ok", "too_complex"}


async def test_a_large_response_is_judged_beside_the_event_loop(
    configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    async def in_thread(function: Any) -> Any:
        threads.append(function.__name__)
        return function()

    monkeypatch.setattr("mistral_server.gate.exchange.asyncio.to_thread", in_thread)
    function = {"name": "f", "parameters": {"type": "object"}}
    tools = [{"type": "function", "function": function}]
    for size, expected in ((10, []), (20_000, ["tool_call_results"])):
        threads.clear()
        answer = choice(None, call("f", json.dumps({"x": "a" * size})), finish="tool_calls")
        with Counted() as counted:
            await ask(gate(FakeEngine([answer])), {"messages": [{"role": "user"}], "tools": tools})
        assert threads == expected
        assert counted.moved()["tool_calls_total{outcome=ok,stream=false}"] == 1
