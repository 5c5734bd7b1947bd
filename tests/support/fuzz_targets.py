"""What every reader of untrusted bytes keeps to, whatever the bytes are.

Each target takes any bytes and raises if a reader breaks a promise. Hypothesis calls them in
`make check`, and atheris, which follows the branches that an input reaches, in `make bench`.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gate_engine import CHAT, COMPLETIONS, call, choice, settings
from hostile_requests import attacks, image_part, png
from hostile_resources import hostile_signals
from mistral_operator.activator.slices import may_be_replica
from mistral_server.contract import LoopSettings, ServerSettings, SignalDocument, TerminationReport
from mistral_server.gate import Gate, limits
from mistral_server.gate.asgi import Message, Receive, Scope, Send
from mistral_server.gate.observer import Observer
from mistral_server.gate.request import RequestOptions
from mistral_server.gate.stream import Stream
from mistral_server.gate.tool_calls import Tools
from stream_events import OTHERS, RAW, encoded

Target = Callable[[bytes], None]

as_the_engine_reads = limits.refusal
"""Evaluates a body once more, as the engine reads it."""

LOOPS = LoopSettings(repeats=4, min_tokens=32, stop_repeats=8, stop_min_tokens=64)
"""Short, so that small inputs loop."""
OPTIONS = (
    RequestOptions(chat=True, stream=True, loops="Stop", usage=True),
    RequestOptions(chat=True, stream=True, own_token_ids=True),
    RequestOptions(chat=True, stream=True, tools=Tools({"f": b'{"required":["x"]}'}), loops="Off"),
    RequestOptions(chat=False, stream=True),
)

_GATES: tuple[dict[str, Any], ...] = (
    {},
    {"loops": {"action": "Stop"}, "strict_tools": True, "honest_finish": False},
    {"fit_max_tokens": False, "accept_developer": False, "normalize_tool_ids": False},
)

SEPARATOR = b"\0\0\0"
"""Between the parts of an input. No JSON has it."""

_PATHS = (CHAT, COMPLETIONS, "/tokenize", "/v1/models")
_TYPES = (b"application/json", b"application/problem+json; a=b", b"text/plain", b"")
_ACTIONS = (b"stop", b"off", b"observe", b"Perhaps")
_ENCODINGS = (b"identity", b"gzip", b" Identity ", b"")
_LENGTHS = (None, b"5", b"-1", b"9" * 30, b"\xb2")
_RESPONSE_TYPES = (b"text/event-stream; charset=utf-8", b"application/json", b"text/html")


class BrokenPromise(AssertionError):
    """A reader did what it must not do."""


def check_stream(data: bytes) -> None:
    """Read a stream at once and in pieces; both give the client and the counters the same.

    The first byte selects the options, the second how many further bytes say where it is cut.
    """
    head, cuts, stream = data[:1], data[2 : 2 + data[1] % 8] if len(data) > 1 else b"", data[10:]
    options = OPTIONS[(head or b"\0")[0] % len(OPTIONS)]
    accurate = bool((head or b"\0")[0] & 0x80)
    whole = _read([stream], options, accurate=accurate)
    pieces = _pieces(stream, cuts)
    split = _read(pieces, options, accurate=accurate)
    # An end of event in another style is passed on at once, whatever has come of the next.
    if b"\r\n\r\n" not in stream and whole != split:
        raise BrokenPromise(f"{pieces} are read as {split} and at once as {whole}")
    if options.own_token_ids and not accurate and split[0] != stream:
        raise BrokenPromise(f"the client gets {split[0]!r} of {stream!r}")


def _pieces(data: bytes, cuts: bytes) -> list[bytes]:
    """Return data cut at shares of its length, in units of 1/256."""
    ends = [*sorted(one * len(data) // 256 for one in cuts), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _read(pieces: Sequence[bytes], options: RequestOptions, *, accurate: bool) -> Any:
    """Return what a client gets, and what is counted."""
    observer = Observer(options, LOOPS)
    stream = Stream(observer, accurate_finish=accurate)
    output = b"".join(map(stream.feed, pieces)) + stream.flush()
    seen = (observer.looping, observer.should_stop, stream.unreadable)
    counted = (observer.results(), observer.tool_call_results(), observer.judging_bytes)
    for event in stream.final_events().split(b"\n\n")[:-2]:
        json.loads(event.removeprefix(b"data: "))
    return output, seen, counted


class _Records(logging.Handler):
    """Collects what the gate logs as a failure of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Exchanges:
    """Sends requests through a gate, whose application answers with what was given.

    Args:
        setenv: sets a variable of the environment, which has the settings of a gate.
    """

    def __init__(self, setenv: Callable[[str, str], object]) -> None:
        self._setenv = setenv
        self._loop = asyncio.new_event_loop()
        self._log = _Records()
        logging.getLogger("mistral_server").addHandler(self._log)
        self._response: tuple[int, bytes, list[bytes]] = (200, b"", [])
        self._bodies: list[bytes] = []
        self._gates = [self._gate(**one) for one in _GATES]

    def check(self, data: bytes) -> None:
        """Send a request and answer it; neither may break the gate or get past its limits.

        Four bytes select the head of the request, three the response, and one the gate. Then follow
        the body of the request, the separator and that of the response.
        """
        head, (body, _, answer) = data[:8].ljust(8, b"\0"), data[8:].partition(SEPARATOR)
        gate, bounds = _pick(self._gates, head[7])
        scope = _scope(head, body)
        status = 200 if head[4] % 8 else 400
        cuts = head[6:7] * (head[6] % 3)
        self._response = status, _pick(_RESPONSE_TYPES, head[5]), _pieces(answer, cuts)
        self._bodies.clear()
        self._log.records.clear()
        messages = self._loop.run_until_complete(self._ask(gate, scope, _pieces(body, head[3:4])))
        if self._log.records:
            raise BrokenPromise(self._log.records[0].getMessage()) from _cause(self._log.records[0])
        _check_response(messages, refused=not self._bodies)
        for one in self._bodies:
            self._check_engine_body(scope, one, bounds)

    def close(self) -> None:
        """Close the loop and leave the log."""
        logging.getLogger("mistral_server").removeHandler(self._log)
        self._loop.close()

    def _gate(self, **changes: Any) -> tuple[Gate, limits.Bounds]:
        """Return a gate with changed settings, and its limits."""
        environment = settings(gate=changes, logs={"requests": False})
        ((name, encoded_settings),) = environment.items()
        self._setenv(name, encoded_settings)
        made = ServerSettings.model_validate_json(encoded_settings)
        bounds = limits.Bounds(
            made.gate.limits, made.engine.images_per_prompt, made.gate.strict_tools
        )
        return Gate(self._engine), bounds

    async def _ask(self, gate: Gate, scope: Scope, parts: list[bytes]) -> list[Message]:
        queue: list[Message] = [
            {"type": "http.request", "body": one, "more_body": True} for one in parts
        ]
        queue.append({"type": "http.request", "body": b"", "more_body": False})
        messages: list[Message] = []

        async def receive() -> Message:
            return queue.pop(0) if queue else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            messages.append(message)

        await gate(scope, receive, send)
        return messages

    async def _engine(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        if scope["method"] == "POST":
            more = True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
        if scope.get("raw_path") is not None:
            self._bodies.append(body)
        status, kind, parts = self._response
        headers = [(b"content-type", kind)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _check_engine_body(self, scope: Scope, body: bytes, bounds: limits.Bounds) -> None:
        """Check that a body is within the limits as the engine reads it, with Python's `json`."""
        kind = dict(scope["headers"]).get(b"content-type", b"")
        if scope["method"] != "POST" or b"json" not in kind or not body:
            return
        document = json.loads(body)
        if not isinstance(document, dict):
            raise BrokenPromise(f"the engine gets {body!r}")
        document.pop("return_token_ids", None)
        refusal = as_the_engine_reads(document, len(body), bounds)
        # The gate writes a body anew, a little longer or shorter.
        if refusal is not None and refusal.reason != "text_bytes":
            raise BrokenPromise(f"the engine reads {body!r}, and of that: {refusal.message}")


def _scope(head: bytes, body: bytes) -> Scope:
    """Return the head of a request."""
    path = _pick(_PATHS, head[0])
    length = _pick(_LENGTHS, head[2] >> 4) if head[2] & 0x80 else str(len(body)).encode()
    headers = [
        (b"host", b"x"),
        (b"content-type", _pick(_TYPES, head[1])),
        (b"content-encoding", _pick(_ENCODINGS, head[1] >> 4) if head[1] & 0x80 else b"identity"),
        (b"x-mistral-loops", _pick(_ACTIONS, head[2])),
    ]
    if length is not None:
        headers.append((b"content-length", length))
    return {
        "type": "http",
        "method": "GET" if path == "/v1/models" else "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
    }


def _pick(choices: Sequence[Any], number: int) -> Any:
    return choices[number % len(choices)]


def _cause(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _check_response(messages: list[Message], *, refused: bool) -> None:
    """Check that a response is one start, then its body, and an error in OpenAI's shape."""
    kinds = [one["type"] for one in messages]
    if kinds[:1] != ["http.response.start"] or {*kinds[1:]} != {"http.response.body"}:
        raise BrokenPromise(f"the client gets {kinds}")
    if messages[-1].get("more_body", False):
        raise BrokenPromise("the response has no end")
    start, body = messages[0], b"".join(one.get("body", b"") for one in messages[1:])
    lengths = [value for name, value in start["headers"] if name.lower() == b"content-length"]
    if lengths not in ([], [str(len(body)).encode()]):
        raise BrokenPromise(f"a body of {len(body)} bytes has the length {lengths}")
    if refused:
        error = json.loads(body)["error"]
        if start["status"] not in range(400, 500) or {*error} != {
            "message",
            "type",
            "param",
            "code",
        }:
            raise BrokenPromise(f"refused with {start['status']} and {error}")


def check_documents(data: bytes) -> None:
    """Read what a pod reports: a small document, or a ValueError says why there is none."""
    for model in (SignalDocument, TerminationReport):
        with contextlib.suppress(ValueError):
            encoded_again = model.read(data).model_dump_json()
            if len(encoded_again) > 20_000 or not encoded_again.isprintable():
                raise BrokenPromise(f"{data!r} is read as {encoded_again}")


def check_address(data: bytes) -> None:
    """Judge an address of an EndpointSlice: it is no exception, and no name is a replica."""
    address = data.decode(errors="replace")
    if may_be_replica(address, 8000) and not {*address} <= {*"0123456789abcdefABCDEF.:"}:
        raise BrokenPromise(f"{address!r} is allowed")


_SCHEMA = {"type": "array", "items": {"type": "string", "pattern": "^a{1,9}$"}, "maxItems": 9}
_FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {"x": _SCHEMA}}}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_PARTS = [{"type": "text", "text": "Hi"}, image_part(png(8, 8))]
_FULL: dict[str, Any] = {
    "messages": [
        {"role": "developer", "content": "Hi"},
        {"role": "user", "content": _PARTS},
        {"role": "assistant", "tool_calls": [_CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "5"},
    ],
    "prompt": ["a", "b"],
    "tools": [{"type": "function", "function": _FUNCTION}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": _SCHEMA}},
    "structured_outputs": {"regex": "a{1,9}", "choice": ["a"], "json": json.dumps(_SCHEMA)},
    "stream": False,
    "stream_options": {"include_usage": True},
    "repetition_detection": {"max_pattern_size": 999, "min_pattern_size": 2, "min_count": 3},
    "n": 1,
    "stop": ["a"],
    "max_tokens": 5000,
    "max_completion_tokens": 5000,
    "include_reasoning": "no",
    "temperature": "0.5",
}
"""A request with every field that the gate reads."""


def stream_seeds() -> Iterator[bytes]:
    """Yield ordinary and odd streams."""
    usual = [*map(encoded, OTHERS), *RAW]
    for number, event in enumerate(usual):
        yield bytes([number % 4, 2, 60, 200]) + bytes(6) + (event + b"\n\n") * 3
    everything = b"".join(event + b"\n\n" for event in usual)
    for number in range(8):
        yield bytes([number << 5 | number % 4, 7, *range(20, 160, 20)]) + b"\0" + everything


def exchange_seeds() -> Iterator[bytes]:
    """Yield requests, each with the responses that fit."""
    full = json.dumps(_FULL).encode()
    whole = json.dumps({"choices": [choice("Hi", call("f", "{}"))], "usage": {}}).encode()
    for gate in range(len(_GATES)):
        for path in range(2):
            yield bytes([path, 0, 0, 0, 1, 1, 0, gate]) + full + SEPARATOR + whole
    chat = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "stream": True}).encode()
    answers = [event + b"\n\n" for event in (*map(encoded, OTHERS), *RAW)]
    for number, answer in enumerate(answers):
        yield (
            bytes([0, 0, number % 4, number, 1, 0, number, number % 3])
            + chat
            + SEPARATOR
            + answer * 20
        )
    for number, attack in enumerate(one for one in attacks() if len(one.body) < 4096):
        path = _PATHS.index(attack.path) if attack.path in _PATHS else 0
        yield bytes([path, 0, number % 4, number % 256, 1, 1, 0, number % 3]) + attack.body


def document_seeds() -> Iterator[bytes]:
    """Yield what hostile pods report."""
    return (one for _, one in hostile_signals() if len(one) < 4096)
