"""The HTTP server of every process: no client can exhaust it for the others.

aiohttp limits each header line and nothing else. Here the whole head of a request has limits of
size and time, and connections have a limit. If it is reached, the connection that has waited
longest for a request gives way to the new one, so that probes are answered beside any number of
idle clients.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from mistral_server.guarded_http.shares import Shares

log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 16_384
"""Maximum size of the request line and all headers together."""
HEAD_SECONDS = 30.0
"""Time that a client has to send a complete head, and that a connection may be idle."""
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
        self._groups: dict[web.RequestHandler, Hashable] = {}
        """Groups of the counted connections, the oldest first."""

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

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        super().connection_lost(handler, exc)
        self._release(handler)

    def _longest_idle(self, group: Hashable) -> web.RequestHandler | None:
        """Return the oldest connection of a group that has not sent a complete head."""
        return next(
            (
                one
                for one, its_group in self._groups.items()
                if its_group == group and isinstance(one, _GuardedHandler) and one.waits_for_head
            ),
            None,
        )

    def _drop(self, handler: web.RequestHandler) -> None:
        self._release(handler)
        handler.force_close()

    def _release(self, handler: web.RequestHandler) -> None:
        if handler in self._groups:
            self.guard.connections.release(self._groups.pop(handler))


class _GuardedHandler(web.RequestHandler):
    """One connection."""

    __slots__ = ("_error", "_head_bytes")

    def __init__(self, server: _GuardedServer, **options: Any) -> None:
        super().__init__(server, **options)
        self._error = server.guard.error
        self._head_bytes = 0

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
