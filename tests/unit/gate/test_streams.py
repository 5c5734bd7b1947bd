"""Streamed answers: what the client gets chunk by chunk, and what is counted."""

import json
from typing import Any

import pytest

from gate_engine import EOS, Counted, FakeEngine, ask, chunk, gate, words
from mistral_server.contract import GateSettings
from mistral_server.gate.observer import Observer
from mistral_server.gate.request import RequestOptions
from mistral_server.gate.stream import Stream

BODY = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"required": ["x"]}}}


def without_ids(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return chunks as the engine sends them if token ids are not requested."""
    plain = json.loads(json.dumps(chunks))
    for one in plain:
        one["prompt_token_ids"] = None
        for each in one["choices"]:
            each["token_ids"] = None
    return plain  # type: ignore[no-any-return]


async def test_the_client_gets_the_stream_that_it_would_have_got(configure: Any) -> None:
    chunks = [*words(3, 'a "token_ids":[1] '), chunk({"content": ""}, [EOS], "stop")]
    with Counted() as counted:
        got = await ask(gate(FakeEngine(chunks=chunks)), BODY)

    assert got.events() == [*without_ids(chunks), "[DONE]"]
    assert got.complete
    assert counted.moved() == {"generations_total{finish_reason=stop}": 1}


async def test_a_client_that_requests_token_ids_gets_them(configure: Any) -> None:
    chunks = [*words(3), chunk({}, [4]), chunk({}, [EOS], "stop")]
    got = await ask(gate(FakeEngine(chunks=chunks)), BODY | {"return_token_ids": True})

    assert got.events() == [*chunks, "[DONE]"]


async def test_chunks_that_exist_only_for_requested_ids_are_removed(
    configure: Any,
) -> None:
    silent = chunk({}, [9])
    with_logprobs = chunk({}, [9], logprobs={"content": []})
    chunks = [*words(1), silent, with_logprobs, silent, chunk({}, [EOS], "stop")]
    got = await ask(gate(FakeEngine(chunks=chunks)), BODY)

    kept = without_ids([chunks[0], chunks[1], with_logprobs, chunks[-1]])
    assert got.events() == [*kept, "[DONE]"]


def tool_chunks(
    name: str, *arguments: str, identity: str = "abcdef123", finish: str = "tool_calls"
) -> list[dict[str, Any]]:
    """Return a stream with one call."""
    head = {
        "id": identity,
        "type": "function",
        "index": 0,
        "function": {"name": name, "arguments": ""},
    }
    return [
        chunk({"role": "assistant", "content": ""}),
        chunk({"tool_calls": [head]}, [9, 5]),
        *(
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}, [6])
            for part in arguments
        ),
        chunk({}, [EOS], finish),
    ]


@pytest.mark.parametrize(
    ("chunks", "outcome", "request_outcome"),
    [
        (tool_chunks("f", '{"x"', ": 1}"), "ok", "valid"),
        (tool_chunks("\n f", '{"x": 1}'), "unknown_tool", "unknown_tool"),
        (tool_chunks("f", '{"y": 1}'), "missing_required", "invalid_args"),
        (tool_chunks("f", '{"x": '), "malformed_json", "invalid_args"),
        (tool_chunks("f", '{"x": ', finish="length"), "truncated", "invalid_args"),
        (tool_chunks("f", '{"x": 1}', identity="call_1"), "invalid_id", "valid"),
    ],
)
async def test_a_streamed_call_is_evaluated_as_the_client_assembles_it(
    configure: Any, chunks: list[dict[str, Any]], outcome: str, request_outcome: str
) -> None:
    with Counted() as counted:
        await ask(gate(FakeEngine(chunks=chunks)), BODY | {"tools": [TOOL]})

    moved = {name: by for name, by in counted.moved().items() if name.startswith("tool_")}
    assert moved == {
        f"tool_calls_total{{outcome={outcome},stream=true}}": 1,
        f"tool_requests_total{{outcome={request_outcome}}}": 1,
    }


@pytest.mark.parametrize(("accurate_finish", "want"), [(True, "length"), (False, "tool_calls")])
async def test_a_truncated_streamed_call_reports_length(
    configure: Any, accurate_finish: bool, want: str
) -> None:
    """VLLM 0.26 reports `tool_calls` for every stream with a call, however it ended."""
    configure(gate={"honest_finish": accurate_finish})
    chunks = [*tool_chunks("f", '{"x": ')[:-1], chunk({}, [6], "tool_calls")]
    with Counted() as counted:
        got = await ask(gate(FakeEngine(chunks=chunks)), BODY | {"tools": [TOOL]})

    assert got.events()[-2]["choices"][0]["finish_reason"] == want
    assert counted.moved() == {
        "generations_total{finish_reason=length}": 1,
        "tool_calls_total{outcome=truncated,stream=true}": 1,
        "tool_requests_total{outcome=invalid_args}": 1,
    }


async def test_a_loop_is_seen_while_it_goes_on(configure: Any) -> None:
    states: list[dict[str, float]] = []
    engine = FakeEngine(chunks=[*words(300), chunk({}, [], "length")])

    async def application(scope: Any, receive: Any, send: Any) -> None:
        async def watched(message: Any) -> None:
            await send(message)
            states.append(counted.moved())

        await engine(scope, receive, watched)

    with Counted() as counted:
        await ask(gate(application), BODY)

    def in_flight(at: int) -> list[str]:
        return [name for name, by in states[at].items() if name.startswith("requests_") and by]

    assert in_flight(250) == ["requests_in_flight{state=productive}"]
    assert in_flight(270) == ["requests_in_flight{state=looping}"]
    assert counted.moved() == {
        "generations_total{finish_reason=length}": 1,
        "generation_loops_total{action=observed,kind=exact}": 1,
        "generation_loop_tokens_total{}": 299,
    }


@pytest.mark.parametrize("usage", [True, False])
async def test_a_loop_is_stopped_if_the_resource_enables_it(configure: Any, usage: bool) -> None:
    configure(gate={"loops": {"action": "Stop"}})
    engine = FakeEngine(chunks=[*words(5000), chunk({}, [], "length")])
    body = BODY | ({"stream_options": {"include_usage": True}} if usage else {})
    with Counted() as counted:
        got = await ask(gate(engine), body)

    *events, last, done = got.events()
    if usage:
        tokens = {"prompt_tokens": 3, "completion_tokens": 512, "total_tokens": 515}
        assert (last["choices"], last["usage"]) == ([], tokens)
        last = events.pop()
    assert len(events) == 1 + 512
    assert last["choices"] == [
        {
            "index": 0,
            "delta": {},
            "finish_reason": "length",
            "stop_reason": "repetition_detected",
            "logprobs": None,
        }
    ]
    assert (last["id"], last["model"]) == ("chatcmpl-1", "tiny")
    assert last["object"] == "chat.completion.chunk"
    assert done == "[DONE]"
    assert got.complete
    assert counted.moved() == {
        "generations_total{finish_reason=repetition}": 1,
        "generation_loops_total{action=stopped,kind=exact}": 1,
        "generation_loop_tokens_total{}": 511,
        "requests_changed_total{change=stream_ended}": 1,
    }


async def test_an_engine_whose_stream_was_stopped_receives_a_disconnect(
    configure: Any,
) -> None:
    configure(gate={"loops": {"action": "Stop"}})
    received: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for one in words(600):
            event = f"data: {json.dumps(one)}\n\n".encode()
            await send({"type": "http.response.body", "body": event, "more_body": True})
        received.append((await receive())["type"])

    async def never(*_: object) -> Any:
        raise AssertionError("the client said nothing more")

    await ask(gate(application), BODY)

    assert received == ["http.disconnect"]


async def test_a_body_may_be_a_view_of_bytes(configure: Any) -> None:
    engine = FakeEngine(chunks=[*words(5), chunk({}, [EOS], "stop")])

    async def application(scope: Any, receive: Any, send: Any) -> None:
        async def as_view(message: Any) -> None:
            await send({**message, "body": memoryview(message.get("body", b""))})

        await engine(scope, receive, as_view)

    assert (await ask(gate(application), BODY)).body == (await ask(gate(engine), BODY)).body


async def test_one_of_two_choices_that_loops_does_not_end_the_other(configure: Any) -> None:
    configure(gate={"loops": {"action": "Stop"}})
    other = [chunk({"content": str(n)}, [n], index=1) for n in range(600)]
    mixed = [one for pair in zip(words(599), other, strict=True) for one in pair]
    ends = [chunk({}, [EOS], "stop", index=1), *words(3)]
    with Counted() as counted:
        got = await ask(gate(FakeEngine(chunks=[*mixed, *ends])), BODY | {"n": 2})

    assert got.complete
    assert counted.moved()["generations_total{finish_reason=stop}"] == 1
    assert counted.moved()["generations_total{finish_reason=repetition}"] == 1


async def test_a_request_may_refuse_to_be_stopped(configure: Any) -> None:
    configure(gate={"loops": {"action": "Stop"}})
    chunks = [*words(900), chunk({}, [], "length")]
    headers = [("x-mistral-loops", "observe")]
    got = await ask(gate(FakeEngine(chunks=chunks)), BODY, headers=headers)

    assert len(got.events()) == len(chunks) + 1


async def test_a_client_that_leaves_within_a_stream_is_an_aborted_generation(
    configure: Any,
) -> None:
    with Counted() as counted:
        await ask(gate(FakeEngine(chunks=words(300))), BODY | {"tools": [TOOL]}, leaves_after=290)

    assert counted.moved() == {
        "generations_total{finish_reason=abort}": 1,
        "generation_loops_total{action=observed,kind=exact}": 1,
        "generation_loop_tokens_total{}": 288,
    }


async def test_a_loop_that_the_engine_stopped_reports_length(configure: Any) -> None:
    end = chunk({}, [], "repetition", stop_reason="repetition_detected")
    with Counted() as counted:
        got = await ask(gate(FakeEngine(chunks=[*words(3), end])), BODY)

    assert got.events()[-2]["choices"][0]["finish_reason"] == "length"
    assert got.events()[-2]["choices"][0]["stop_reason"] == "repetition_detected"
    assert counted.moved()["generation_loops_total{action=stopped,kind=exact}"] == 1


@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
def test_events_may_be_cut_anywhere(size: int) -> None:
    chunks = [*words(5), chunk({}, [EOS], "stop")]
    data = b"".join(f"data: {json.dumps(one)}\n\n".encode() for one in chunks)
    data += b": keep-alive\n\ndata: [DONE]\n\n"
    observer = Observer(RequestOptions(chat=True, stream=True), GateSettings().loops)
    stream = Stream(observer, accurate_finish=True)
    got = b"".join(stream.feed(data[at : at + size]) for at in range(0, len(data), size))

    assert got.endswith(b": keep-alive\n\ndata: [DONE]\n\n")
    assert got.count(b"\n\n") == data.count(b"\n\n")
    assert [one.finish_reason for one in observer.results()] == ["stop"]


DEEP = b'data: {"x":' + 5000 * b"[" + 5000 * b"]" + b"}"
NEGATIVE = b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":-1,"function":{}}]}}]}'


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"choices":7}',
        b"data: {",
        b'data: {"choices":[{"index":"x"}]}',
        b"data: {\xff}",
        pytest.param(DEEP, id="too deep"),
        pytest.param(NEGATIVE, id="a call before the first"),
    ],
)
def test_an_event_that_cannot_be_read_passes_as_it_is(event: bytes) -> None:
    stream = Stream(Observer(RequestOptions(chat=True), GateSettings().loops), accurate_finish=True)

    assert stream.feed(event + b"\n\nrest") == event + b"\n\n"
    assert stream.unreadable == 1
    assert stream.flush() == b"rest"


@pytest.mark.parametrize("depth", range(900, 1100))
def test_no_depth_of_an_event_breaks_a_stream(depth: int) -> None:
    stream = Stream(Observer(RequestOptions(chat=True), GateSettings().loops), accurate_finish=True)
    choice = b'"choices":[{"index":0,"delta":{"content":"Hi"},"token_ids":[5]}]'
    event = b'data: {"x":%b%b,%b}\n\n' % (depth * b"[", depth * b"]", choice)

    assert b'"content":"Hi"' in stream.feed(event)


def test_a_stream_with_other_line_ends_passes_as_it_comes_and_is_counted() -> None:
    stream = Stream(Observer(RequestOptions(chat=True), GateSettings().loops), accurate_finish=True)
    event = b'data: {"choices":[]}\r\n\r\n'

    assert [stream.feed(event), stream.feed(event)] == [event, event]
    assert stream.unreadable == 2


def test_an_end_that_is_missing_is_counted() -> None:
    stream = Stream(Observer(RequestOptions(chat=True), GateSettings().loops), accurate_finish=True)
    cut = b'data: {"choices":[]}'

    assert stream.feed(cut) + stream.flush() == cut
    assert stream.unreadable == 1


@pytest.mark.parametrize("token", [-1, 0x110000, 10**30])
def test_an_id_of_no_vocabulary_breaks_no_stream(token: int) -> None:
    stream = Stream(Observer(RequestOptions(chat=True), GateSettings().loops), accurate_finish=True)
    event = b"data: " + json.dumps(chunk({"content": "Hi"}, [token])).encode() + b"\n\n"

    assert b'"content": "Hi"' in stream.feed(event)
    assert stream.unreadable == 0
