"""Answers that are not streamed: what the client gets, and what is counted."""

from typing import Any

import pytest

from gate_engine import (
    CHAT,
    COMPLETIONS,
    EOS,
    Counted,
    FakeEngine,
    ask,
    call,
    choice,
    gate,
)

MESSAGES = [{"role": "user", "content": "Hi"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "parameters": {
            "type": "object",
            "properties": {"x": {"type": "integer"}},
            "required": ["x"],
        },
    },
}
BODY = {"messages": MESSAGES, "tools": [TOOL]}


async def test_the_client_gets_what_it_would_have_got(configure: Any) -> None:
    generated = 'quote \\"token_ids\\":[1,2] and "token_ids":[3]'
    engine = FakeEngine([choice(generated)])
    got = await ask(gate(engine), {"messages": MESSAGES})
    expected = choice(generated)
    expected["token_ids"] = None

    assert got.json()["choices"] == [expected]
    assert got.json()["prompt_token_ids"] is None
    assert int(got.headers["content-length"]) == len(got.body)
    assert "x-mistral-finish-reason" not in got.headers


async def test_a_client_that_requests_token_ids_gets_them(configure: Any) -> None:
    got = await ask(gate(FakeEngine()), {"messages": MESSAGES, "return_token_ids": True})

    assert got.json()["choices"] == [choice()]
    assert got.json()["prompt_token_ids"] == [1, 3]


async def test_a_prompt_that_is_repeated_keeps_the_token_ids_that_come_with_it(
    configure: Any,
) -> None:
    got = await ask(gate(FakeEngine()), {"prompt": "Hi", "echo": True}, COMPLETIONS)

    assert got.json()["prompt_token_ids"] == [1, 3]


async def test_a_prompt_that_repeats_itself_is_no_loop_of_the_generation(configure: Any) -> None:
    generated = {**choice("", ids=[]), "text": "la " * 600, "token_ids": None}
    with Counted() as counted:
        await ask(gate(FakeEngine([generated])), {"prompt": "la " * 600, "echo": True}, COMPLETIONS)

    assert counted.moved() == {
        "generations_total{finish_reason=stop}": 1,
        "generations_unchecked_total{}": 1,
    }


CUT = choice(None, call("f", "{}"), ids=[9, 5, 32, 5], finish="tool_calls")
"""A call that vLLM truncated at its limit and completed."""


async def test_a_truncated_call_reports_length(configure: Any) -> None:
    with Counted() as counted:
        got = await ask(gate(FakeEngine([CUT, choice(index=1)])), BODY | {"n": 2})

    assert [one["finish_reason"] for one in got.json()["choices"]] == ["length", "stop"]
    assert got.json()["choices"][0]["message"] == CUT["message"]
    assert got.headers["x-mistral-finish-reason"] == "length,stop"
    assert counted.moved() == {
        "generations_total{finish_reason=length}": 1,
        "generations_total{finish_reason=stop}": 1,
        "tool_calls_total{outcome=truncated,stream=false}": 1,
        "tool_requests_total{outcome=invalid_args}": 1,
        "requests_changed_total{change=finish_reason}": 1,
    }


async def test_the_gate_can_report_the_finish_reason_of_the_raw_engine(configure: Any) -> None:
    engine = FakeEngine([CUT])
    raw = await ask(engine, BODY)
    configure(gate={"honest_finish": False})
    with Counted() as counted:
        switched = await ask(gate(engine), BODY)

    assert raw.json()["choices"][0]["finish_reason"] == "tool_calls"
    assert switched.json()["choices"][0]["finish_reason"] == "tool_calls"
    assert counted.moved()["tool_calls_total{outcome=truncated,stream=false}"] == 1


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"ids": [9, 5, EOS]}, {}),
        ({"ids": [9, 5], "stop_reason": "}"}, {}),
        ({"ids": [9, 5]}, {"stop": ["}"]}),
        ({"ids": []}, {}),
        ({"token_ids": None}, {}),
    ],
)
async def test_a_call_that_ended_by_itself_is_not_cut(
    configure: Any, changes: dict[str, Any], body: dict[str, Any]
) -> None:
    one = choice(None, call("f", '{"x": 1}'), finish="tool_calls", **changes)
    with Counted() as counted:
        got = await ask(gate(FakeEngine([one])), BODY | body)

    assert got.json()["choices"][0]["finish_reason"] == "tool_calls"
    assert counted.moved() == {
        "generations_total{finish_reason=tool_calls}": 1,
        "tool_calls_total{outcome=ok,stream=false}": 1,
        "tool_requests_total{outcome=valid}": 1,
    }


LOOP = [7, 8, 9, 10] * 200


async def test_a_loop_is_counted_with_what_it_wasted(configure: Any) -> None:
    ids = [*range(100, 150), *LOOP]
    with Counted() as counted:
        got = await ask(gate(FakeEngine([choice("x", ids=ids, finish="length")])), BODY)

    assert got.json()["choices"][0]["finish_reason"] == "length"
    assert counted.moved() == {
        "generations_total{finish_reason=length}": 1,
        "generation_loops_total{action=observed,kind=exact}": 1,
        "generation_loop_tokens_total{}": len(LOOP) - 4,
        "tool_requests_total{outcome=no_call}": 1,
    }


async def test_a_loop_that_the_engine_stopped_reports_length_and_a_header_has_the_actual_reason(
    configure: Any,
) -> None:
    one = choice("x", ids=LOOP, finish="repetition", stop_reason="repetition_detected")
    with Counted() as counted:
        got = await ask(gate(FakeEngine([one])), {"messages": MESSAGES})

    assert got.json()["choices"][0]["finish_reason"] == "length"
    assert got.json()["choices"][0]["stop_reason"] == "repetition_detected"
    assert got.headers["x-mistral-finish-reason"] == "repetition"
    assert counted.moved()["generations_total{finish_reason=repetition}"] == 1
    assert counted.moved()["generation_loops_total{action=stopped,kind=exact}"] == 1


async def test_loops_are_detected_in_text_without_token_ids(configure: Any) -> None:
    one = choice("and so on, " * 200, ids=[], finish="length")
    one["token_ids"] = None
    with Counted() as counted:
        await ask(gate(FakeEngine([one])), {"messages": MESSAGES})

    assert counted.moved()["generation_loops_total{action=observed,kind=exact}"] == 1
    assert counted.moved()["generation_loop_tokens_total{}"] == (200 - 1) * 11 // 4


async def test_a_loop_that_counts_is_counted_as_another_kind(configure: Any) -> None:
    text = "".join(f"Step {number}: look at the next step.\n" for number in range(90))
    ids = list(range(1000, 3000))
    with Counted() as counted:
        await ask(gate(FakeEngine([choice(text, ids=ids)])), {"messages": MESSAGES})

    assert counted.moved()["generation_loops_total{action=observed,kind=counter}"] == 1
    assert "generation_loop_tokens_total{}" not in counted.moved()


async def test_with_action_off_no_loop_is_detected(configure: Any) -> None:
    app = gate(FakeEngine([choice("x", ids=LOOP)]))
    with Counted() as counted:
        await ask(app, {"messages": MESSAGES}, headers=[("X-Mistral-Loops", "off")])

    assert counted.moved() == {
        "generations_total{finish_reason=stop}": 1,
        "generations_unchecked_total{}": 1,
    }


async def test_a_completion_is_watched_too(configure: Any) -> None:
    one = choice(ids=LOOP, finish="length") | {"text": "x" * 800}
    del one["message"]
    with Counted() as counted:
        got = await ask(gate(FakeEngine([one])), {"prompt": "x"}, COMPLETIONS)

    assert got.json()["choices"] == [one | {"token_ids": None}]
    assert counted.moved()["generation_loops_total{action=observed,kind=exact}"] == 1


async def test_an_error_passes_untouched_and_is_no_generation(configure: Any) -> None:
    with Counted() as counted:
        got = await ask(gate(FakeEngine(status=400)), {"messages": MESSAGES})

    assert (got.status, got.body) == (400, b'{"error":{}}')
    assert counted.moved() == {}


@pytest.mark.parametrize("body", [b"null", b"{}", b'{"choices":7}', b"\xff", b""])
async def test_what_is_no_answer_passes_as_it_is_and_is_counted(
    configure: Any, body: bytes
) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    with Counted() as counted:
        got = await ask(gate(application), {"messages": MESSAGES}, CHAT)

    assert got.body == body
    assert got.complete
    assert counted.moved().get("gate_errors_total{where=answer}", 0) == (body != b"{}")


async def test_a_client_that_left_is_an_aborted_generation(configure: Any) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        # As vLLM does it.
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"null"})

    with Counted() as counted:
        await ask(gate(application), BODY)

    assert counted.moved() == {
        "generations_total{finish_reason=abort}": 1,
        "generations_unchecked_total{}": 1,
    }


async def test_a_request_is_in_flight_until_its_answer(configure: Any) -> None:
    during: dict[str, float] = {}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        during.update(counted.moved())
        raise RuntimeError("broken")

    with Counted() as counted:
        assert (await ask(gate(application), BODY)).status == 500

    assert during == {"requests_in_flight{state=productive}": 1}
    assert counted.moved() == {}
