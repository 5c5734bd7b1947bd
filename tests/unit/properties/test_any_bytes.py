"""Whatever a client, an engine or a pod sends: it is read within bounds, or rejected clearly."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fuzz_targets
from fuzz_examples import EXAMPLES
from fuzz_targets import (
    SEPARATOR,
    BrokenPromise,
    Exchanges,
    check_documents,
    check_stream,
    document_seeds,
    exchange_seeds,
    stream_seeds,
)
from gate_engine import call, choice
from mistral_server.contract import SignalDocument, TerminationReport
from mistral_server.gate import limits
from mistral_server.gate.request import Prepared
from mistral_server.gate.stream import Stream
from stream_events import streams

fuzz = settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
ROLES = ("user", "assistant", "system", "developer", "tool")


def near(*usual: Any) -> st.SearchStrategy[Any]:
    """Return usual values, and sometimes any JSON in their place."""
    return st.sampled_from(usual) | st.sampled_from(usual) | JSON


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects with some of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


CONTENT = near("Hi") | st.lists(objects(type=near("text", "image_url"), text=near("x")), max_size=3)
SCHEMAS = near({}, {"type": "string", "maxLength": 5}, {"minItems": 10**6}, {"pattern": "a{1,99}"})
TOOLS = st.lists(
    objects(
        type=near("function"), function=objects(name=near("f"), parameters=SCHEMAS, strict=JSON)
    ),
    max_size=3,
)
REQUESTS = objects(
    messages=JSON
    | st.lists(objects(role=near(*ROLES), content=CONTENT, tool_calls=TOOLS), max_size=3),
    prompt=near("Hi", ["a", "b"], [1, 2]),
    tools=TOOLS | JSON,
    tool_choice=near("auto", "required", {"type": "function", "function": {"name": "f"}}),
    response_format=near({"type": "json_object"}, {"type": "json_schema", "json_schema": {}}),
    structured_outputs=objects(json=SCHEMAS, regex=near("a+"), choice=near(["a"])) | JSON,
    stream=near(True, "on"),
    stream_options=near({"include_usage": True}),
    n=near(1, 2, "3", 10_000),
    max_tokens=near(5, 10**6),
    stop=near(["a"], "a"),
    repetition_detection=near({"max_pattern_size": 4, "min_count": 2}),
)
CALL = call("f", '{"x":1}') | {"index": 0}
CHOICES = objects(
    index=near(0, 1),
    message=objects(content=near("Hi", None), tool_calls=near([CALL])),
    finish_reason=near("stop", "tool_calls", "length", "repetition"),
    token_ids=near([5, 2], [], None),
)
RESPONSES = objects(
    choices=st.lists(CHOICES, max_size=3) | JSON | st.just([choice("Hi", CALL)]),
    usage=near({"completion_tokens": 3}),
)


@pytest.fixture(scope="module")
def exchanges() -> Iterator[Exchanges]:
    with pytest.MonkeyPatch.context() as environment:
        made = Exchanges(environment.setenv)
        yield made
        made.close()


@fuzz
@given(st.binary(max_size=2000))
def test_any_bytes_as_a_stream(data: bytes) -> None:
    check_stream(data)


@fuzz
@given(streams(), st.binary(min_size=1, max_size=1), st.binary(min_size=8, max_size=8))
def test_any_stream_cut_anywhere(messages: list[bytes], options: bytes, cuts: bytes) -> None:
    check_stream(options + b"\7" + cuts + b"".join(messages))


@fuzz
@given(st.binary(min_size=8, max_size=8), st.binary(max_size=500), st.binary(max_size=500))
def test_any_bytes_as_a_request_and_its_response(
    exchanges: Exchanges, head: bytes, request: bytes, response: bytes
) -> None:
    exchanges.check(head + request + SEPARATOR + response)


@fuzz
@given(st.binary(min_size=8, max_size=8), REQUESTS, RESPONSES | JSON, streams())
def test_any_json_as_a_request_and_its_response(
    exchanges: Exchanges, head: bytes, request: Any, response: Any, events: list[bytes]
) -> None:
    answer = b"".join(events) if head[5] % 3 == 0 else json.dumps(response).encode()
    exchanges.check(head + json.dumps(request).encode() + SEPARATOR + answer)


@fuzz
@given(st.binary(max_size=500))
def test_any_bytes_as_a_document_of_a_pod(data: bytes) -> None:
    check_documents(data)


@fuzz
@given(
    st.dictionaries(
        st.sampled_from([*SignalDocument.model_fields, *TerminationReport.model_fields])
        | st.text(),
        JSON | st.sampled_from([True, 1, 10**6, "serving", {"context_length": 4096}]),
    )
)
def test_any_values_in_a_document_of_a_pod(document: dict[str, Any]) -> None:
    check_documents(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("check", "seeds"),
    [(check_stream, stream_seeds), (check_documents, document_seeds)],
    ids=["streams", "documents"],
)
def test_what_fuzzing_begins_with(
    check: fuzz_targets.Target, seeds: Callable[[], Iterator[bytes]]
) -> None:
    for data in seeds():
        check(data)


def test_what_fuzzing_of_exchanges_begins_with(exchanges: Exchanges) -> None:
    for data in exchange_seeds():
        exchanges.check(data)


def test_a_stream_that_forgets_what_it_buffered_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Stream, "flush", lambda _self: b"")
    with pytest.raises(BrokenPromise):
        check_stream(b"\1\1\x80" + bytes(7) + b"data: {")


def test_a_limit_that_is_not_kept_is_found_out(
    monkeypatch: pytest.MonkeyPatch, exchanges: Exchanges
) -> None:
    evaluate = limits.refusal
    monkeypatch.setattr(fuzz_targets, "as_the_engine_reads", evaluate)
    monkeypatch.setattr(limits, "refusal", lambda *_arguments: None)
    with pytest.raises(BrokenPromise, match="responses"):
        exchanges.check(
            bytes([0, 0, 0, 0, 1, 0, 0, 0]) + b'{"messages":[{"role":"user"}],"n":10000}'
        )


def test_a_failure_that_the_gate_survives_is_found_out(
    monkeypatch: pytest.MonkeyPatch, exchanges: Exchanges
) -> None:
    def fail(*_arguments: object, **_options: object) -> Prepared:
        raise KeyError("x")

    monkeypatch.setattr("mistral_server.gate.middleware.prepare", fail)
    with pytest.raises(BrokenPromise, match="Cannot process"):
        exchanges.check(bytes([0, 0, 0, 0, 1, 0, 0, 0]) + b'{"messages":[{"role":"user"}]}')
