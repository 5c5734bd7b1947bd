"""The ASGI middleware in front of vLLM's application.

vLLM constructs it without arguments in each API process, so its settings come from the environment
that the supervisor sets.
"""

import hmac
import logging
import os

from mistral_server.contract import (
    KEYLESS_PATHS,
    SERVER_SETTINGS_ENV,
    SERVER_TOKEN_ENV,
    SERVER_TOKEN_HEADER,
    LoopAction,
    ServerSettings,
    is_open,
)
from mistral_server.engine import log_handlers, workarounds
from mistral_server.gate import metrics
from mistral_server.gate.api_keys import ApiKeys
from mistral_server.gate.asgi import (
    Application,
    BodyTooLargeError,
    Receive,
    Replay,
    Scope,
    Send,
    header,
    read_body,
    with_length,
)
from mistral_server.gate.context_window import ContextWindow
from mistral_server.gate.error_responses import Refusal, closed_path, too_large, unknown_key
from mistral_server.gate.exchange import Exchange
from mistral_server.gate.request import Prepared, RequestPolicy, needs_context_length, prepare
from mistral_server.gate.response import UNREADABLE
from mistral_server.gate.system_prompt import SystemPrompt

LOOPS_HEADER = b"x-mistral-loops"
"""Request header that selects how loops are handled."""

CHAT_PATH = "/v1/chat/completions"
GENERATING_PATHS = (CHAT_PATH, "/v1/completions")

_ACTIONS: dict[bytes, LoopAction] = {b"off": "Off", b"observe": "Observe", b"stop": "Stop"}

_log = logging.getLogger(__name__)


class Gate:
    """Wraps an ASGI application."""

    def __init__(self, app: Application) -> None:
        log_handlers.share()
        self._app = app
        settings = ServerSettings.model_validate_json(os.environ[SERVER_SETTINGS_ENV])
        self._settings = settings.gate
        self._token = os.environ.get(SERVER_TOKEN_ENV, "").encode()
        self._keys = ApiKeys(settings.gate.api_keys) if settings.gate.api_keys else None
        self._context_window = ContextWindow(app, settings.engine.context_length)
        self._system_prompt = (
            SystemPrompt(settings.system_prompt.path, settings.model.served_name)
            if settings.system_prompt
            else None
        )
        for result in workarounds.apply(enabled=settings.engine.workarounds == "Auto"):
            metrics.WORKAROUNDS.labels(result.name, str(result.active).lower()).set(1)
            metrics.WORKAROUNDS.labels(result.name, str(not result.active).lower()).set(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject a request, forward it, or forward it and observe the response."""
        if scope["type"] == "websocket":
            # No open path is a WebSocket, and the gate could not observe what it generates.
            metrics.REFUSALS.labels("path").inc()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http" or self._is_from_supervisor(scope):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            metrics.REFUSALS.labels(refusal.reason).inc()
            await refusal.send(send)
        elif scope["method"] == "POST" and scope["path"] in GENERATING_PATHS:
            await self._generate(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_from_supervisor(self, scope: Scope) -> bool:
        token = header(scope, SERVER_TOKEN_HEADER.encode())
        return bool(self._token) and hmac.compare_digest(token or b"", self._token)

    def _refusal(self, scope: Scope) -> Refusal | None:
        path = scope["path"]
        if not is_open(path, self._settings.paths):
            return closed_path(path)
        keys = None if path in KEYLESS_PATHS else self._keys
        if keys is not None and not keys.allows(header(scope, b"authorization")):
            return unknown_key()
        length = header(scope, b"content-length") or b"0"
        if length.isdigit() and int(length) > self._settings.max_body_bytes:
            return too_large(self._settings.max_body_bytes)
        return None

    async def _generate(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive, self._settings.max_body_bytes)
        except BodyTooLargeError:
            metrics.REFUSALS.labels("body_too_large").inc()
            await too_large(self._settings.max_body_bytes).send(send)
            return
        if body is None:
            return  # the client disconnected before its request was complete
        prepared = await self._prepare(scope, body)
        if prepared is None:
            await self._app(scope, Replay(body, receive), send)
            return
        scope = {**scope, "headers": with_length(scope["headers"], len(prepared.body))}
        may_stop = prepared.options.loops == "Stop"
        replay = Replay(prepared.body, receive, abortable=may_stop)
        exchange = Exchange(prepared.options, self._settings, replay, send)
        try:
            await self._app(scope, replay, exchange.send)
        finally:
            exchange.close()

    async def _prepare(self, scope: Scope, body: bytes) -> Prepared | None:
        """Return the request for the engine, or None to forward it unchanged."""
        action = _ACTIONS.get((header(scope, LOOPS_HEADER) or b"").strip().lower())
        try:
            context_length = (
                await self._context_window.tokens(scope) if needs_context_length(body) else None
            )
            system_prompt = (
                self._system_prompt.render() if self._system_prompt is not None else None
            )
            prepared = prepare(
                body,
                chat=scope["path"] == CHAT_PATH,
                loops=action or self._settings.loops.action,
                policy=RequestPolicy(self._settings, system_prompt, context_length),
            )
        except UNREADABLE:
            return None  # vLLM rejects it with its own message
        except Exception:
            _log.exception("Cannot process a request; it is passed on unchanged")
            metrics.ERRORS.labels("request").inc()
            return None
        for change in prepared.changes:
            metrics.CHANGES.labels(change).inc()
        return prepared
