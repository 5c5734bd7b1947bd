"""The engine's window, asked of the engine itself: with `auto` nobody else knows it."""

import logging
from typing import cast

import msgspec

from mistral_server.gate.asgi import DISCONNECT, Application, Message, Scope

_PATH = "/v1/models"

_log = logging.getLogger(__name__)


class _Model(msgspec.Struct):
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model] = []


class Window:
    """Tokens of prompt and answer together.

    Args:
        app: the application behind the gate.
        known: the window where the settings say it.
    """

    def __init__(self, app: Application, known: int | None) -> None:
        self._app = app
        self._known = known

    async def tokens(self, scope: Scope) -> int | None:
        """Return the window, None if the application does not tell.

        Args:
            scope: of a request that is being served.
        """
        if self._known is None:
            self._known = await self._ask(scope)
        return self._known

    async def _ask(self, scope: Scope) -> int | None:
        changes = {"method": "GET", "path": _PATH, "raw_path": _PATH.encode(), "headers": []}
        parts: list[bytes] = []
        asked = False

        async def receive() -> Message:
            nonlocal asked
            if asked:
                return DISCONNECT
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            parts.append(cast("bytes", message.get("body", b"")))

        await self._app({**scope, **changes, "query_string": b""}, receive, send)
        try:
            models = msgspec.json.decode(b"".join(parts), type=_Models).data
        except msgspec.MsgspecError as error:
            _log.warning("The engine does not report its context length: %s", error)
            return None
        return next((one.max_model_len for one in models if one.max_model_len), None)
