"""A server whose engine also tells what it sends into the gate, for tests of what comes out.

``python -m engine_tap run`` is ``python -m mistral_server run`` with one middleware more, between
vLLM and the gate. Two answers of a busy engine differ, so a test that compares what a client got
with what the gate got has to look at one and the same.
"""

from pathlib import Path
from unittest.mock import patch

from mistral_server.__main__ import main
from mistral_server.contract import ServerSettings
from mistral_server.engine.argv import engine_arguments
from mistral_server.gate.asgi import Application, Message, Receive, Scope, Send, header
from mistral_server.supervisor import supervisor

TAP_HEADER = "x-test-tap"
"""Header of a request: the file that gets what the engine answers."""


class Tap:
    """Wraps vLLM's application."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and write its answer down before the end of it is sent."""
        file = header(scope, TAP_HEADER.encode()) if scope["type"] == "http" else None
        if file is None:
            await self._app(scope, receive, send)
            return
        parts: list[bytes] = []

        async def tapped(message: Message) -> None:
            parts.append(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                _write(file.decode(), parts)
            await send(message)

        await self._app(scope, receive, tapped)


def _write(file: str, parts: list[bytes]) -> None:
    Path(file).write_bytes(b"".join(parts))


def _arguments(settings: ServerSettings) -> list[str]:
    """Return the engine's arguments with the tap before the gate: the last one is the outermost."""
    model, *others = engine_arguments(settings)
    return [model, f"--middleware=engine_tap.{Tap.__name__}", *others]


if __name__ == "__main__":
    with patch.object(supervisor, "engine_arguments", _arguments):
        main()
