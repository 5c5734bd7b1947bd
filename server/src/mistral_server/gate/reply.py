"""The way back to the client: the id of the request, one dialect of errors, its line of the log."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from mistral_server.contract import (
    KEYLESS_PATHS,
    REQUEST_ID_HEADER,
    preflight_headers,
    request_id,
    response_headers,
)
from mistral_server.gate import engine_errors, metrics
from mistral_server.gate.asgi import Headers, Message, Scope, Send, header, with_length
from mistral_server.gate.client_address import connection_address, forwarded_for
from mistral_server.gate.engine_error_rules import ClientRequest
from mistral_server.gate.engine_errors import EngineError
from mistral_server.gate.pace import Pace
from mistral_server.gate.request_log import (
    Generated,
    RequestLine,
    RequestLog,
    shown_method,
)

_ID_HEADER = REQUEST_ID_HEADER.encode()
_CORS = b"access-control-"
_TOO_MANY = 429
"""The engine is busy, which is no mistake of the client: it tries again, or elsewhere, at once."""

_STREAM = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
"""Headers of streams: proxies such as nginx hold their events back otherwise."""

_CLOSE = [(b"connection", b"close")]

_log = logging.getLogger(__name__)


class Reply:
    """Sends the response to one request. Pass it to applications as their `send`.

    Args:
        scope: of the request.
        send: sends to the client.
        pace: delays the responses to rejected requests.
        origins: of web pages that may read the response.
        log: of requests; None writes no lines.
        draining: tells whether the connection is closed after the response.
    """

    def __init__(
        self,
        scope: Scope,
        send: Send,
        pace: Pace,
        origins: tuple[str, ...] = (),
        log: RequestLog | None = None,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self.id = request_id(_text(scope, _ID_HEADER))
        self._pace = pace
        self._origins = origins
        self._draining = draining
        self.body = b""
        """The body of the request, for errors that name a part of it."""
        self.generates = False
        """Whether it is a request for generated text."""
        self.client: str | None = None
        """Name of the client's API key."""
        self.refused: str | None = None
        """Why the gate rejected the request."""
        self.generated = Generated()
        """What came of the request."""
        self._log = log
        self._scope = scope
        self._send = send
        self._status = 0
        self._began = False
        self._cut = False
        self._error: Message | None = None
        """The start of an error that is not sent yet."""
        self._parts: list[bytes] = []
        self._size = 0
        self._rejection: tuple[Message, bytes] | None = None
        """Start and body of the response to a rejected request, which `finish` sends."""
        self._started_at = time.monotonic()

    def scope(self) -> Scope:
        """Return the scope for the application: with this id, which the engine uses too."""
        others = [one for one in self._scope["headers"] if one[0] != _ID_HEADER]
        return {**self._scope, "headers": [*others, (_ID_HEADER, self.id.encode())]}

    def request(self) -> ClientRequest:
        """Return the request in short."""
        return ClientRequest(self._scope["method"], self._scope["path"], self.id, self.body)

    def __call__(self, message: Message) -> Awaitable[None]:
        """Send a message. Not a coroutine: most are events of a stream, which are not touched."""
        if self._began:
            return self._send(message)
        if message["type"] == "http.response.start":
            return self._start(message)
        return self._on_error_body(message)

    async def send_options(self) -> None:
        """Respond to OPTIONS, which a browser sends before the request of a page."""
        origin = _text(self._scope, b"origin")
        requested = _text(self._scope, b"access-control-request-headers")
        headers = _encoded(preflight_headers(origin, requested, self._origins))
        self._status = 204
        start = {"type": "http.response.start", "status": 204, "headers": headers}
        await self._send_start(start, own=True)
        await self({"type": "http.response.body", "body": b""})

    async def fail(self, error: Exception) -> None:
        """Respond to a request during which the application raised an exception.

        Raises:
            Exception: the same one, if the response has begun: only closing the connection tells
                the client that it is not complete.
        """
        if self._began:
            self._cut = not isinstance(error, OSError)  # which is a client that disconnected
            raise error
        reported = engine_errors.of_exception(error, self.request())
        if reported.status >= 500:
            _log.error("Request %s failed", self.id, exc_info=error)
        self._error, self._parts, self._rejection = None, [], None
        await self._send_error(reported, [])

    async def finish(self) -> None:
        """Send what is left when the application has returned, which no longer holds the request.

        A response that waits in the application would keep the body of its request in memory.
        """
        if self._rejection is None:
            return
        self.body = b""
        delay = self._pace.delay()
        if delay:
            metrics.DELAYED.inc()
            await asyncio.sleep(delay)
        await self._send_whole(*self._rejection)

    def log(self) -> None:
        """Count this request and write its line, except for probes that succeed."""
        path = self._scope["path"]
        if path in KEYLESS_PATHS and self._status < 400:
            return
        result = self._result()
        kind = "generation" if self.generates else "other"
        metrics.RESPONSES.labels(kind, result).inc()
        if self._log is not None:
            self._log.write(self._line(self._log, result))

    def _result(self) -> str:
        """Return one of `metrics.RESPONSE_STATUSES`."""
        if self._cut or self.generated.failed:
            return "cut"
        return f"{self._status // 100}xx" if self._began else "disconnected"

    def _line(self, log: RequestLog, result: str) -> RequestLine:
        generated = self.generated
        first = generated.first_at
        return RequestLine(
            client=self.client,
            address=connection_address(self._scope),
            forwarded_for=forwarded_for(self._scope),
            method=shown_method(self._scope["method"]),
            path=log.shown_path(self._scope["path"]),
            status=self._status if self._began else None,
            result=result,
            milliseconds=_milliseconds(time.monotonic() - self._started_at),
            first_token_milliseconds=None
            if first is None
            else _milliseconds(first - self._started_at),
            prompt_tokens=generated.prompt_tokens,
            completion_tokens=generated.completion_tokens,
            generations=generated.generations,
            finish=generated.finish,
            loops=generated.loops,
            loop=generated.loop,
            tools=generated.tools,
            refused=self.refused,
            id=self.id,
        )

    async def _start(self, message: Message) -> None:
        self._status = message["status"]
        if self._status >= 400 and _content_type(message["headers"]).startswith(
            b"application/json"
        ):
            self._error = message
            return
        await self._send_start(message)

    async def _on_error_body(self, message: Message) -> None:
        start = self._error
        if start is None:
            await self._send(message)
            return
        if self._size <= engine_errors.MAX_BODY_BYTES:
            self._parts.append(bytes(message.get("body", b"")))
            self._size += len(self._parts[-1])
        if message.get("more_body", False):
            return
        body, headers = b"".join(self._parts), start["headers"]
        self._error, self._parts = None, []
        allow = next((value for name, value in headers if name.lower() == b"allow"), b"")
        error = engine_errors.translated(
            start["status"], body, self.request(), allow.decode("latin-1")
        )
        if error is None:
            await self._send_or_pace(start, body)
        else:
            await self._send_error(error, headers)

    async def _send_error(self, error: EngineError, headers: Headers) -> None:
        if error.hidden:
            _log.error("Request %s failed with status %d: %s", self.id, error.status, error.hidden)
        self._status = error.status
        body = error.body()
        kept = [one for one in headers if one[0].lower() != b"content-type"]
        headers = with_length([*kept, (b"content-type", b"application/json")], len(body))
        start = {"type": "http.response.start", "status": error.status, "headers": headers}
        await self._send_or_pace(start, body)

    async def _send_or_pace(self, start: Message, body: bytes) -> None:
        status = start["status"]
        if 400 <= status < 500 and status != _TOO_MANY:
            self._rejection = start, body
        else:
            await self._send_whole(start, body)

    async def _send_whole(self, start: Message, body: bytes) -> None:
        await self._send_start(start)
        await self._send({"type": "http.response.body", "body": body})

    async def _send_start(self, message: Message, *, own: bool = False) -> None:
        self._began = True
        origin = _text(self._scope, b"origin")
        added = _encoded(response_headers(origin, self._origins))
        if _content_type(message["headers"]).startswith(b"text/event-stream"):
            added += _STREAM
        if self._draining():
            added += _CLOSE
        names = {name for name, _ in added} | {_ID_HEADER}
        # Some versions of vLLM allow every origin by default.
        kept = [
            (name, value)
            for name, value in message["headers"]
            if name.lower() not in names and (own or not name.lower().startswith(_CORS))
        ]
        await self._send({**message, "headers": [*kept, *added, (_ID_HEADER, self.id.encode())]})


def _text(scope: Scope, name: bytes) -> str | None:
    value = header(scope, name)
    return None if value is None else value.decode("latin-1")


def _encoded(headers: list[tuple[str, str]]) -> Headers:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers]


def _content_type(headers: Headers) -> bytes:
    return next((value for name, value in headers if name.lower() == b"content-type"), b"")


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
