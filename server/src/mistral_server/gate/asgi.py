"""ASGI types, headers, and how a request is replayed."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

DISCONNECT: Message = {"type": "http.disconnect"}


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return a request header; `name` is in lower case, as in ASGI."""
    return next((value for key, value in scope["headers"] if key == name), None)


def with_length(headers: Headers, length: int, *more: tuple[bytes, bytes]) -> Headers:
    """Return `headers` with the length of a new body."""
    others = [
        (name, value)
        for name, value in headers
        if name.lower() not in {b"content-length", b"transfer-encoding"}
    ]
    return [*others, (b"content-length", str(length).encode()), *more]


async def fetch(app: Application, scope: Scope, path: str) -> list[Message]:
    """Return what an application responds to a GET without headers.

    Args:
        app: the application.
        scope: of the current request, which needs something of another path.
        path: that path.
    """
    changes = {"method": "GET", "path": path, "raw_path": path.encode(), "headers": []}
    messages: list[Message] = []
    delivered = False

    async def receive() -> Message:
        nonlocal delivered
        if delivered:
            return DISCONNECT
        delivered = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    await app({**scope, **changes, "query_string": b""}, receive, send)
    return messages


class Replay:
    """Replays a body to the application, then forwards messages of the server.

    The gate can abort the request: the application then receives a disconnect and stops generating.

    Args:
        body: the request body.
        receive: the server's `receive`.
        abortable: whether the gate may abort; waiting for that takes two tasks.
    """

    def __init__(self, body: bytes, receive: Receive, *, abortable: bool = False) -> None:
        self._body: bytes | None = body
        self._receive = receive
        self._aborted = asyncio.Event() if abortable else None
        self.disconnected = False
        """Whether the client disconnected or the response is complete."""

    def abort(self) -> None:
        """Make the application receive a disconnect."""
        if self._aborted is not None:
            self._aborted.set()

    async def __call__(self) -> Message:
        """Return the next message."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        if self._aborted is None:
            message = await self._receive()
        else:
            message = await self._receive_unless(self._aborted)
        self.disconnected = self.disconnected or message["type"] == "http.disconnect"
        return message

    async def _receive_unless(self, aborted: asyncio.Event) -> Message:
        tasks = [
            asyncio.ensure_future(self._receive()),
            asyncio.ensure_future(aborted.wait()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        if tasks[0] in done:
            return tasks[0].result()  # type: ignore[return-value]
        return DISCONNECT
