"""An application that answers as vLLM 0.32 does, behind a gate; and a client in front of it."""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import REGISTRY

from mistral_server.contract import SERVER_SETTINGS_ENV
from mistral_server.gate import Gate
from mistral_server.gate.asgi import DISCONNECT, Message, Receive, Scope, Send

EOS = 2
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
HEAD = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "tiny"}


def settings(**changes: Any) -> dict[str, str]:
    """Return the environment of a gate."""
    values = {
        "model": {"path": "/m", "served_name": "tiny", "id": "m"},
        "engine": {"context_length": 1000},
    }
    return {SERVER_SETTINGS_ENV: json.dumps(values | changes)}


def call(name: str, arguments: str) -> dict[str, Any]:
    """Return a tool call of an answer."""
    return {
        "id": "abcdef123",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def choice(
    content: str | None = "Hi",
    *calls: dict[str, Any],
    ids: Iterable[int] = (5, EOS),
    finish: str = "stop",
    index: int = 0,
    **more: Any,
) -> dict[str, Any]:
    """Return a choice of a response, with token ids as if they were requested."""
    message = {"role": "assistant", "content": content, "tool_calls": list(calls)}
    return {
        "index": index,
        "message": message,
        "logprobs": None,
        "finish_reason": finish,
        "stop_reason": None,
        "token_ids": list(ids),
        **more,
    }


def chunk(
    delta: dict[str, Any], ids: Iterable[int] = (), finish: str | None = None, **more: Any
) -> dict[str, Any]:
    """Return an event of a stream."""
    one = {
        "index": 0,
        "delta": delta,
        "logprobs": None,
        "finish_reason": finish,
        "token_ids": list(ids),
    }
    head = {**HEAD, "object": "chat.completion.chunk"}
    return {**head, "choices": [one | more], "prompt_token_ids": None}


def words(count: int, text: str = "la ", token: int = 7) -> list[dict[str, Any]]:
    """Return a stream that repeats one word."""
    first = chunk({"role": "assistant", "content": ""})
    first["prompt_token_ids"] = [1, 3, 4]
    return [first, *(chunk({"content": text}, [token]) for _ in range(count))]


@dataclass
class FakeEngine:
    """Gives a prepared answer, and remembers what reached it."""

    choices: list[dict[str, Any]] = field(default_factory=lambda: [choice()])
    chunks: list[dict[str, Any]] | None = None
    status: int = 200
    bodies: list[bytes] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)
    sent: int = 0
    """Events of the stream that were requested before the client disconnected."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["path"] == "/v1/models":
            await _answer(send, {"data": [{"id": "tiny", "max_model_len": 1000}]})
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.bodies.append(body)
        if self.chunks is None:
            answer = {**HEAD, "choices": self.choices, "prompt_token_ids": [1, 3]}
            await _answer(send, answer if self.status == 200 else {"error": {}}, self.status)
        else:
            await self._stream(receive, send, self.chunks)

    async def _stream(self, receive: Receive, send: Send, chunks: list[dict[str, Any]]) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for one in chunks:
            event = f"data: {_dumped(one)}\n\n".encode()
            await send({"type": "http.response.body", "body": event, "more_body": True})
            self.sent += 1
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    @property
    def request(self) -> Any:
        """The last request, decoded."""
        return json.loads(self.bodies[-1])


@dataclass
class Got:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool

    def json(self) -> Any:
        """Return the answer, decoded."""
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """Return the events of a stream, decoded; `[DONE]` stays a text."""
        parts = [one.removeprefix("data: ") for one in self.body.decode().split("\n\n") if one]
        return [one if one == "[DONE]" else json.loads(one) for one in parts]


async def ask(
    app: Any,
    body: dict[str, Any] | bytes,
    path: str = CHAT,
    method: str = "POST",
    headers: Iterable[tuple[str, str]] = (),
    leaves_after: int | None = None,
) -> Got:
    """Send a request; `leaves_after` so many messages of the answer the client is gone."""
    raw = body if isinstance(body, bytes) else _dumped(body).encode()
    half = len(raw) // 2
    queue: list[Message] = [
        {"type": "http.request", "body": raw[:half], "more_body": True},
        {"type": "http.request", "body": raw[half:], "more_body": False},
    ]
    messages: list[Message] = []

    async def receive() -> Message:
        return queue.pop(0) if queue else DISCONNECT

    async def send(message: Message) -> None:
        if leaves_after is not None and len(messages) >= leaves_after:
            raise OSError("the client is gone")
        messages.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [
            *((name.lower().encode(), value.encode("latin-1")) for name, value in headers),
            (b"host", b"x"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(raw)).encode()),
        ],
    }
    with contextlib.suppress(OSError):
        await app(scope, receive, send)
    start: Message = messages[0] if messages else {"status": 0, "headers": []}
    return Got(
        status=start["status"],
        headers={name.decode().lower(): value.decode() for name, value in start["headers"]},
        body=b"".join(one.get("body", b"") for one in messages[1:]),
        complete=bool(messages[1:]) and not messages[-1].get("more_body", False),
    )


def gate(engine: Any) -> Gate:
    """Return a gate in front of an application; its settings are in the environment."""
    return Gate(engine)


_RESPONSES = "responses_total{"


class Counted:
    """How far counters moved within a block."""

    def __init__(self) -> None:
        self._before: dict[str, float] = {}

    def __enter__(self) -> "Counted":
        self._before = dict(_samples())
        return self

    def __exit__(self, *_error: object) -> None:
        return

    def moved(self) -> dict[str, float]:
        """Return the samples that changed, by `name{label=value,...}` without prefix.

        Every response is counted, too: `responses` returns those.
        """
        moved = self._all_moved()
        return {name: by for name, by in moved.items() if not name.startswith(_RESPONSES)}

    def responses(self) -> dict[str, float]:
        """Return how many responses were counted, by the class of their status."""
        sums: Counter[str] = Counter()
        for (_, status), by in self.responses_by_kind().items():
            sums[status] += int(by)
        return dict(sums)

    def responses_by_kind(self) -> dict[tuple[str, str], float]:
        """Return how many responses were counted, by kind of request and class of status."""
        matches = {
            re.fullmatch(rf"{_RESPONSES}kind=(\w+),status=(\w+)}}", name): by
            for name, by in self._all_moved().items()
        }
        return {(match[1], match[2]): by for match, by in matches.items() if match}

    def _all_moved(self) -> dict[str, float]:
        return {
            name: value - self._before.get(name, 0)
            for name, value in _samples()
            if value != self._before.get(name, 0)
        }


def _samples() -> Iterator[tuple[str, float]]:
    """Yield the counters of requests; gauges of the engine are set when a gate is created."""
    for family in REGISTRY.collect():
        for sample in family.samples:
            if sample.name.startswith("mistral_engine_"):
                continue
            if sample.name.startswith("mistral_") and not sample.name.endswith("_created"):
                labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
                yield sample.name.removeprefix("mistral_") + f"{{{labels}}}", sample.value


async def _answer(send: Send, answer: dict[str, Any], status: int = 200) -> None:
    body = _dumped(answer).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _dumped(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
