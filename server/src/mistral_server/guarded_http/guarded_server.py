"""The HTTP server of every process: no client can exhaust it for the others.

aiohttp limits each header line and nothing else. Here the whole head of a request has limits of
size and time, a response has a time without progress, and connections have a limit. If it is
reached, the connection that has waited longest for its client gives way to the new one, so that
probes are answered beside any number of clients that send no request, do not read their responses
or do not finish the bodies of requests that are answered.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import LineTooLong

from mistral_server.guarded_http.shares import Shares
from mistral_server.guarded_http.stalls import SAMPLE_SECONDS, Stall, discard, undelivered

log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 16_384
"""Maximum size of the request line and all headers together."""
HEAD_SECONDS = 30.0
"""Time that a client has to send a complete head, and that a connection may be idle."""
WRITE_SECONDS = 10.0
"""Time without progress after which a response is given up, and for which aiohttp reads the rest of
the body of a request that is answered. A network repeats lost packets several times within it."""
_MAX_HEADERS = 256

ErrorResponse = Callable[[int, str], web.Response]
"""Returns the response to a request that cannot be handled, by status and reason."""


def plain_error(status: int, message: str) -> web.Response:
    """Return an error in plain text."""
    return web.Response(status=status, text=f"{message}\n")


def port_of(transport: asyncio.BaseTransport | None) -> int:
    """Return the local port of a connection, 0 if it is closed."""
    name = None if transport is None else transport.get_extra_info("sockname")
    return 0 if name is None else int(name[1])


@dataclass(frozen=True, slots=True)
class Guard:
    """Limits of a server."""

    connections: Shares
    """Open connections, by group."""
    group: Callable[[asyncio.BaseTransport], Hashable] = port_of
    """Returns the group of a connection."""
    error: ErrorResponse = plain_error
    """Returns the responses to requests that cannot be handled."""
    head_seconds: float = HEAD_SECONDS
    """Time that a client has to send a complete head, and that a connection may be idle."""
    on_rejected: Callable[[], None] = lambda: None
    """Called for each connection that is closed because of the limit."""
    write_seconds: float = WRITE_SECONDS
    """Time that a client may read nothing of its response before the connection is aborted."""


class GuardedRunner(web.AppRunner):
    """Runs an application behind a guard."""

    def __init__(self, app: web.Application, guard: Guard, **options: Any) -> None:
        super().__init__(
            app,
            access_log=None,
            keepalive_timeout=guard.head_seconds,
            max_line_size=MAX_HEAD_BYTES,
            max_field_size=MAX_HEAD_BYTES,
            max_headers=_MAX_HEADERS,
            lingering_time=WRITE_SECONDS,
            **options,
        )
        self._guard = guard

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return _GuardedServer(server, self._guard)


class _GuardedServer(web.Server):
    """A server that limits its connections."""

    def __init__(self, server: web.Server, guard: Guard) -> None:
        self._handle_valid = server.request_handler
        super().__init__(
            self._handle,
            request_factory=server.request_factory,
            handler_cancellation=server.handler_cancellation,
            **server._kwargs,
        )
        self.guard = guard
        self._groups: dict[_GuardedHandler, Hashable] = {}
        """Groups of the counted connections."""
        self._sample_seconds = min(SAMPLE_SECONDS, guard.write_seconds / 10)
        self._sampler: asyncio.TimerHandle | None = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        error = _head_error(request)
        if error is None:
            return await self._handle_valid(request)
        response = self.guard.error(*error)
        response.force_close()
        return response

    def __call__(self) -> web.RequestHandler:
        return _GuardedHandler(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if not isinstance(handler, _GuardedHandler):
            raise TypeError(handler)  # __call__ makes no others
        group = self.guard.group(transport)
        if not self.guard.connections.take(group):
            self.guard.on_rejected()
            idle = self._longest_idle(group)
            if idle is not None:
                self._drop(idle)
            if idle is None or not self.guard.connections.take(group):
                handler.force_close()
                return
        self._groups[handler] = group
        if self._sampler is None:
            self._sample_later()

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        super().connection_lost(handler, exc)
        self._release(handler)

    def _longest_idle(self, group: Hashable) -> "_GuardedHandler | None":
        """Return the connection of a group that has waited longest for its client."""
        now = self._loop.time()
        idle = [
            (since, number, one)
            for number, (one, its_group) in enumerate(self._groups.items())
            if its_group == group
            and (since := one.waits_since(now, self._sample_seconds)) is not None
        ]
        return min(idle)[2] if idle else None

    def _sample_later(self) -> None:
        self._sampler = self._loop.call_later(self._sample_seconds, self._sample)

    def _sample(self) -> None:
        """Abort the connections whose clients have not read anything for too long."""
        self._sampler = None
        if self._groups:
            self._sample_later()
        now = self._loop.time()
        for one in list(self._groups):
            if one.look(now) > self.guard.write_seconds:
                self._drop(one)

    def _drop(self, handler: "_GuardedHandler") -> None:
        self._release(handler)
        handler.abort()

    def _release(self, handler: web.RequestHandler) -> None:
        if isinstance(handler, _GuardedHandler) and handler in self._groups:
            self.guard.connections.release(self._groups.pop(handler))


class _GuardedHandler(web.RequestHandler):
    """One connection."""

    __slots__ = ("_answered_at", "_body", "_error", "_head_bytes", "_socket", "_stall")

    def __init__(self, server: _GuardedServer, **options: Any) -> None:
        super().__init__(server, **options)
        self._error = server.guard.error
        self._head_bytes = 0
        self._stall = Stall()
        self._socket: asyncio.Transport | None = None
        """The transport; aiohttp forgets its own before everything is sent."""
        self._body: StreamReader | None = None
        """Body of the request that was answered last."""
        self._answered_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast("asyncio.Transport", transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._socket = None
        super().connection_lost(exc)

    def look(self, now: float) -> float:
        """Look at what is not sent yet; return for how long the client has not read, in seconds."""
        self._stall.look(0 if self._socket is None else undelivered(self._socket), now)
        return self._stall.seconds(now)

    def waits_since(self, now: float, pause: float) -> float | None:
        """Return since when the connection has waited for its client, None if it does not.

        Args:
            now: the loop's time.
            pause: time for which a client that is still reading may read nothing, in seconds.
        """
        if self.look(now) >= pause:
            return self._stall.since
        if self.waits_for_head:
            return self._next_keepalive_close_time - self._keepalive_timeout
        if self._body is not None and not self._body.is_eof():
            return self._answered_at
        return None

    def abort(self) -> None:
        """Close the connection, without sending what its client does not read."""
        transport = self._socket
        self.force_close()
        if transport is not None:
            discard(transport)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        finished = await super().finish_response(request, resp, start_time)
        # Until its body has arrived, aiohttp reads on, so that the client can read the response.
        self._body, self._answered_at = request.content, self._loop.time()
        return finished

    @property
    def waits_for_head(self) -> bool:
        """Whether the next bytes belong to the head of a request."""
        return self._waiter is not None and not self._waiter.done()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.waits_for_head:
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES and self.transport is not None:
            response = self._error(431, _HEAD_TOO_LARGE)
            body = response.body if isinstance(response.body, bytes) else b""
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
                b"Content-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
                % (response.content_type.encode(), len(body), body)
            )
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the response to a request that is malformed or whose handler failed."""
        if isinstance(exc, LineTooLong):
            status, reason = 431, _HEAD_TOO_LARGE
        elif status < 500:
            # Any client can cause this, so it is worth no traceback.
            log.debug("malformed request: %s", exc)
            reason = "the request is not valid HTTP/1.1"
        else:
            log.error("a request failed unexpectedly", exc_info=exc)
            reason = "the request failed unexpectedly"
        response = self._error(status, reason)
        response.force_close()
        return response


_HEAD_TOO_LARGE = (
    f"the request line and the headers are larger than {MAX_HEAD_BYTES} bytes together: send"
    " smaller or fewer headers"
)


def head_size(request: web.BaseRequest) -> int:
    """Return the size of the request line and the headers of a request, in bytes."""
    lines = sum(len(name) + len(value) + len(": \r\n") for name, value in request.raw_headers)
    return len(f"{request.method} {request.raw_path} HTTP/1.1\r\n\r\n") + lines


def _head_error(request: web.BaseRequest) -> tuple[int, str] | None:
    """Return status and reason if the head of a request is not acceptable."""
    if head_size(request) > MAX_HEAD_BYTES:
        return 431, _HEAD_TOO_LARGE
    if not request.raw_path.startswith("/"):
        return 400, "the request line must contain a path, not a URL"
    return None
