"""Events that are read by their shape leave everything as it is when all of them are decoded."""

import random
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate_engine import EOS, Counted, FakeEngine, ask, chunk, gate, words
from loop_oracle import human, looping_texts
from mistral_server.contract import GateSettings, LoopSettings
from mistral_server.gate import chunks, exchange
from mistral_server.gate.loops import LoopDetector, LoopRule
from mistral_server.gate.observer import Generation, Observer
from mistral_server.gate.request import RequestOptions
from mistral_server.gate.stream import Stream
from mistral_server.gate.tool_calls import Tools
from stream_events import (
    IDS,
    LOGPROBS,
    OTHERS,
    PLAIN,
    RAW,
    TEXTS,
    damaged,
    encoded,
    events,
    plain,
    streams,
)
from tool_call_corpus import corpus
from tool_call_wire import chunks_of, request_of

LOOPS = LoopSettings(repeats=4, min_tokens=32, stop_repeats=8, stop_min_tokens=64)
"""Short, so that generated streams loop."""
OPTIONS = (
    RequestOptions(chat=True, stream=True, loops="Stop", usage=True),
    RequestOptions(chat=True, stream=True, own_token_ids=True),
    RequestOptions(chat=True, stream=True, tools=Tools({"f": b""}), loops="Off"),
)


def detector_state(detector: LoopDetector | None) -> list[Any]:
    """Return all that a detector knows; what waits may wait in other pieces."""
    if detector is None:
        return []
    state = {name: getattr(detector, name) for name in LoopDetector.__slots__}
    return [state | {"_pending": "".join(state["_pending"])}]


def generation_state(generation: Generation) -> list[Any]:
    """Return all that is known of a generation."""
    generation.flush()
    names = ("tokens", "last_token", "finish_reason", "stop_reason", "stopped", "calls", "by_text")
    counter = generation.counter
    return [
        *(getattr(generation, name) for name in names),
        "".join(generation.content),
        detector_state(generation.detector),
        detector_state(counter._detector),
        counter._digit,
    ]


def observed(messages: Iterable[bytes], options: RequestOptions, learn_limit: int) -> list[Any]:
    """Return what the client gets of each message and what is known then, and at the end."""
    observer = Observer(options, LOOPS)
    stream = Stream(observer, accurate_finish=True, learn_limit=learn_limit)
    seen: list[Any] = []
    looping = should_stop = False
    for message in messages:
        passed = stream.feed(message)
        if observer.changed:  # as an exchange does
            observer.changed = False
            looping, should_stop = observer.looping, observer.should_stop
        assert (looping, should_stop) == (observer.looping, observer.should_stop)
        seen.append((passed, stream.unreadable, looping, should_stop))
    states = {at: generation_state(one) for at, one in observer.generations.items()}
    return [
        *seen,
        states,
        stream.flush(),
        stream.final_events(),
        observer.results(),
        observer.tool_call_results(),
    ]


def assert_equal(messages: Sequence[bytes]) -> None:
    """Compare both ways."""
    for options in OPTIONS:
        assert observed(messages, options, learn_limit=4) == observed(
            messages, options, learn_limit=0
        )


@given(streams())
def test_any_stream(messages: list[bytes]) -> None:
    assert_equal(messages)


@given(st.lists(st.one_of(events(), damaged()), min_size=1, max_size=3))
def test_any_events_among_ordinary_ones(odd: list[bytes]) -> None:
    usual = encoded(plain("content", "Hi", [5]))
    assert_equal([event + b"\n\n" for one in odd for event in (usual, usual, one, usual)])


@pytest.mark.parametrize("kind", PLAIN)
def test_every_text_with_every_id_in_every_style(kind: str) -> None:
    for style in range(4):
        sent = [plain(kind, text, ids) for text, ids in product(TEXTS, IDS)]
        assert_equal([encoded(one, style) + b"\n\n" for one in (plain(kind, "a", [1]), *sent)])


def test_every_odd_event_before_among_and_after_ordinary_ones() -> None:
    usual = [encoded(plain("content", text, [5])) + b"\n\n" for text in ("Hi", " there")]
    for odd in (*map(encoded, OTHERS), *RAW):
        for count in (1, 3):
            assert_equal([*([odd + b"\n\n"] * count), *usual, odd + b"\n\n", *usual])


@pytest.mark.parametrize(
    "put", [b"", b'"', b"\\", b",", b"]", b"0", b"-", b" ", b"\t", b"\n", b"\xff"]
)
@pytest.mark.parametrize("instead_of", [0, 1])
def test_a_byte_that_is_put_in_taken_out_or_changed_anywhere(put: bytes, instead_of: int) -> None:
    usual = encoded(plain("content", "Hi", [5, 16])) + b"\n\n"
    odd = [usual[:at] + put + usual[at + instead_of :] for at in range(len(usual))]
    assert_equal([message for one in odd for message in (one, b"\n\n", usual)])


@pytest.mark.parametrize("size", [1, 7, 100, 250, 1000, 100_000])
def test_events_that_are_cut_or_come_together(size: int) -> None:
    sent = [*words(30), *(plain("content", text, [5]) for text in TEXTS), chunk({}, [EOS], "stop")]
    data = b"".join(encoded(one) + b"\n\n" for one in sent) + b"data: [DONE]\n\n"
    assert_equal([data[at : at + size] for at in range(0, len(data), size)])


@pytest.mark.parametrize("each", [1, 2, 5, 17])
def test_loops_are_detected_at_the_same_event(each: int) -> None:
    rule = LoopRule(LOOPS.repeats, LOOPS.min_tokens, max_period=64)
    for case in looping_texts(seed=5, count=24, rule=rule):
        sent = [case.tokens[at : at + each] for at in range(0, len(case.tokens), each)]
        texts = ["".join(f" w{token}" for token in ids) for ids in sent]
        pairs = zip(texts, sent, strict=True)
        assert_equal([encoded(plain("content", text, ids)) + b"\n\n" for text, ids in pairs])


def test_two_choices_of_which_one_loops() -> None:
    sent = [
        plain("content", str(at), [at % 7 + at // 9 * (at % 2), at], at % 2) for at in range(400)
    ]
    assert_equal([encoded(one) + b"\n\n" for one in sent])


def test_a_stream_that_turns_into_another() -> None:
    random_texts = [("reasoning", 9), ("content", 300), ("twice", 3), ("text", 40), ("content", 30)]
    sent = [plain(kind, "la ", [7]) for kind, count in random_texts for _ in range(count)]
    assert_equal([encoded(one) + b"\n\n" for one in sent])


async def both_ways(
    monkeypatch: pytest.MonkeyPatch, sent: list[dict[str, Any]], body: dict[str, Any]
) -> None:
    """Compare what clients get, how far engines come, and what is counted."""
    ways = []
    for learn_limit in (4, 0):
        monkeypatch.setattr(exchange, "Stream", partial(Stream, learn_limit=learn_limit))
        engine = FakeEngine(chunks=sent)
        with Counted() as counted:
            got = await ask(gate(engine), body, headers=[("X-Request-Id", "one")])
        ways.append((got, engine.sent, counted.moved()))
    assert ways[0] == ways[1]


@pytest.mark.parametrize("size", [1, 7])
async def test_the_streams_of_the_corpus(
    configure: Any, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    for entry in (one for one in corpus() if one.stream):
        await both_ways(monkeypatch, chunks_of(entry, size), request_of(entry))


@pytest.mark.parametrize("action", ["Off", "Observe", "Stop"])
@pytest.mark.parametrize("more", [{}, {"return_token_ids": True}, {"n": 2}])
async def test_what_is_counted(
    configure: Any, monkeypatch: pytest.MonkeyPatch, action: str, more: dict[str, Any]
) -> None:
    configure(gate={"loops": {"action": action}})
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True, **more}
    for end in ([chunk({}, [EOS], "stop")], [chunk({}, [], "length")], []):
        sent = [*words(700), *end]
        await both_ways(monkeypatch, sent, body)


@pytest.mark.parametrize("style", range(4))
@pytest.mark.parametrize("kind", ["content", "reasoning", "text"])
def test_an_ordinary_stream_is_decoded_by_its_shape(
    monkeypatch: pytest.MonkeyPatch, kind: str, style: int
) -> None:
    tokens = human(random.Random(1), 500)
    sent = [*words(0), *(plain(kind, f" wört{one}", [one]) for one in tokens)]
    observer = Observer(RequestOptions(chat=True, stream=True), GateSettings().loops)
    stream, decoded = Stream(observer, accurate_finish=True), []

    def read(event: bytes, decode: Any = chunks.read) -> Any:
        decoded.append(event)
        return decode(event)

    monkeypatch.setattr(chunks, "read", read)
    for one in sent:
        stream.feed(encoded(one, style) + b"\n\n")

    assert len(decoded) == 2 + 2  # the role, the first word, and two proofs of its shape
    observer.results()
    assert observer.generations[0].tokens == 500


@pytest.mark.parametrize("style", range(4))
def test_events_with_logprobs_have_no_shape(style: int) -> None:
    event = encoded(chunk({"content": "Hi"}, [5], logprobs=LOGPROBS), style)

    assert chunks.shape_of(event, chunks.read(event)) is None


def test_the_search_for_a_shape_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched: list[bytes] = []
    monkeypatch.setattr(chunks, "shape_of", lambda event, _chunk: searched.append(event))
    stream = Stream(
        Observer(RequestOptions(chat=True, stream=True), GateSettings().loops), accurate_finish=True
    )
    for at in range(100):
        stream.feed(encoded(plain("content", "Hi", [5]) | {"created": at}) + b"\n\n")

    assert len(searched) == 4
