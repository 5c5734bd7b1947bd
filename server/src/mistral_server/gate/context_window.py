"""The engine's context length, queried from the engine: with `auto` only it has the value."""

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


class ContextWindow:
    """Tokens of prompt and response together.

    Args:
        app: the application behind the gate.
        configured: the context length in the settings, if set.
    """

    def __init__(self, app: Application, configured: int | None) -> None:
        self._app = app
        self._tokens = configured

    async def tokens(self, scope: Scope) -> int | None:
        """Return the context length, or None if the application does not report it.

        Args:
            scope: of the current request.
        """
        if self._tokens is None:
            self._tokens = await self._query_engine(scope)
        return self._tokens

    async def _query_engine(self, scope: Scope) -> int | None:
        changes = {"method": "GET", "path": _PATH, "raw_path": _PATH.encode(), "headers": []}
        parts: list[bytes] = []
        delivered = False

        async def receive() -> Message:
            nonlocal delivered
            if delivered:
                return DISCONNECT
            delivered = True
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
