"""The models of the engine: their context length, and one of them by its name.

OpenAI's clients retrieve a model by `/v1/models/NAME`, which vLLM does not serve.
"""

import logging

import msgspec

from mistral_server.gate.asgi import Application, Scope, Send, fetch
from mistral_server.gate.error_responses import unknown_model

_PATH = "/v1/models"
_log = logging.getLogger(__name__)


class _Model(msgspec.Struct):
    id: str = ""
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[msgspec.Raw] = []


def is_model(scope: Scope) -> bool:
    """Return whether a request retrieves one model."""
    path: str = scope["path"]
    # The server sends no body to HEAD.
    return scope["method"] in {"GET", "HEAD"} and path.startswith(f"{_PATH}/")


class Models:
    """What the application reports of its models.

    Args:
        app: the application behind the gate.
    """

    def __init__(self, app: Application) -> None:
        self._app = app

    async def respond(self, scope: Scope, send: Send) -> None:
        """Respond with the model in the path of a request."""
        name = scope["path"].removeprefix(f"{_PATH}/")
        for raw, model in await self._listed(scope):
            if model.id == name:
                headers = [
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(bytes(raw))).encode()),
                ]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": bytes(raw)})
                return
        await unknown_model(name).send(send)

    async def context_length(self, scope: Scope) -> int | None:
        """Return tokens of prompt and response together, None if they are not reported.

        Args:
            scope: of the current request.
        """
        listed = await self._listed(scope)
        return next((one.max_model_len for _, one in listed if one.max_model_len), None)

    async def _listed(self, scope: Scope) -> list[tuple[msgspec.Raw, _Model]]:
        messages = await fetch(self._app, scope, _PATH)
        body = b"".join(one.get("body", b"") for one in messages)
        try:
            models = msgspec.json.decode(body, type=_Models).data
            return [(one, msgspec.json.decode(one, type=_Model)) for one in models]
        except msgspec.MsgspecError as error:
            _log.warning("The engine does not report its models: %s", error)
            return []
