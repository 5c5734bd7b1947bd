"""Judging tool calls takes a bounded number of steps, whatever schema and arguments are."""

import json
from typing import Any

import pytest

from gate_engine import Counted, FakeEngine, ask, call, choice, gate
from mistral_server.gate.schema_costs import Budget, steps_of
from mistral_server.gate.schemas import TooComplex, schema_errors
from mistral_server.gate.tool_calls import Call, Choice, Tools, evaluate_tool_calls

TOOL_LIMIT = Budget().steps


def items(of: Any) -> dict[str, Any]:
    """Return a schema of a list in `x`."""
    return {"properties": {"x": {"type": "array", "items": of}}}


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
        ({"uniqueItems": True}, [1, 2, 3], 4),
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
