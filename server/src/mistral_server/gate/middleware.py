"""A pure ASGI middleware in front of vLLM's application.

It sees the bytes of every request; for now it does one thing: a chat that brings no system message
gets the deployment's. vLLM constructs it without arguments, in each API process, so its settings
come from the environment that the supervisor passed on.
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mistral_server.contract import SERVER_SETTINGS_ENV, ServerSettings
from mistral_server.gate.body import with_system_message
from mistral_server.gate.system_prompt import SystemPrompt

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

CHAT_PATH = "/v1/chat/completions"


class Gate:
    """Wraps an ASGI application."""

    def __init__(self, app: Application) -> None:
        self._app = app
        settings = ServerSettings.model_validate_json(os.environ[SERVER_SETTINGS_ENV])
        self._prompt = (
            SystemPrompt(settings.system_prompt.path, settings.model.served_name)
            if settings.system_prompt
            else None
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with a system message if it is a chat without one."""
        chat = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == CHAT_PATH
        if not chat or self._prompt is None:
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return  # the client left before its request was complete
        changed = with_system_message(body, self._prompt.render())
        if changed is not body:
            scope = {**scope, "headers": _with_length(scope["headers"], len(changed))}
        await self._app(scope, _replay(changed, receive), send)


async def _read(receive: Receive) -> bytes | None:
    """Return the whole body, or None if the client left."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)  # appending to one buffer is quadratic for a 5 MB image


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that yields `body` once, and then what the server has to say."""
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _with_length(headers: list[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    """Return `headers` with the length of the new body, whether or not there was one."""
    others = [
        (name, value)
        for name, value in headers
        if name.lower() not in {b"content-length", b"transfer-encoding"}
    ]
    return [*others, (b"content-length", str(length).encode())]
