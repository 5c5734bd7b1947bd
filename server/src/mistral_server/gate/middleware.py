"""The ASGI middleware in front of vLLM's application.

vLLM constructs it without arguments in each API process, so its settings come from the environment
that the supervisor sets.
"""

import hmac
import logging
import os
import re
import time

from prometheus_client import disable_created_metrics

from mistral_server.contract import (
    ENDPOINT_ENV,
    ENDPOINT_HEADER,
    KEYLESS_PATHS,
    OBSERVED_PATHS,
    SERVER_SETTINGS_ENV,
    SERVER_TOKEN_ENV,
    SERVER_TOKEN_HEADER,
    LoopAction,
    ServerSettings,
    is_open,
    may_generate,
)
from mistral_server.engine import connections, log_handlers, workarounds
from mistral_server.gate import limits, metrics
from mistral_server.gate.api_keys import ApiKeys
from mistral_server.gate.asgi import (
    Application,
    Receive,
    Replay,
    Scope,
    Send,
    header,
    with_length,
)
from mistral_server.gate.body import (
    ClientGone,
    Intake,
    has_body,
    head_refusal,
    is_json,
    may_be_json,
)
from mistral_server.gate.context_window import ContextWindow
from mistral_server.gate.document import NotJson, read_object
from mistral_server.gate.draining import Draining
from mistral_server.gate.error_responses import (
    Refusal,
    closed_path,
    misdirected,
    no_system_prompt,
    not_a_request,
    not_json,
    unknown_key,
    unknown_loop_policy,
    wrong_media_type,
)
from mistral_server.gate.exchange import Exchange
from mistral_server.gate.models import Models, is_model
from mistral_server.gate.pace import Pace
from mistral_server.gate.quiet_log import shorten_mistakes
from mistral_server.gate.reasoning import lacks_effort
from mistral_server.gate.reply import Reply
from mistral_server.gate.request import (
    Prepared,
    RequestPolicy,
    lacks_system,
    needs_context_length,
    prepare,
)
from mistral_server.gate.request_log import RequestLog
from mistral_server.gate.response import UNREADABLE
from mistral_server.gate.scrapes import METRICS_PATH, Scrapes, scrape_refusal
from mistral_server.gate.system_prompt import SystemPrompt

LOOPS_HEADER = b"x-mistral-loops"
"""Request header that selects how loops are handled."""

CHAT_PATH = "/v1/chat/completions"

_ACTIONS: dict[bytes, LoopAction] = {b"off": "Off", b"observe": "Observe", b"stop": "Stop"}

_PARAM = re.compile(r" - at `([^`$]+)`")
"""Where a field of another type is."""

_log = logging.getLogger(__name__)


class Gate:
    """Wraps an ASGI application."""

    def __init__(self, app: Application) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # vLLM's, too
        log_handlers.share()
        shorten_mistakes()
        self._app = app
        settings = ServerSettings.model_validate_json(os.environ[SERVER_SETTINGS_ENV])
        self._settings = settings.gate
        self._token = os.environ.get(SERVER_TOKEN_ENV, "").encode()
        self._endpoint = os.environ.get(ENDPOINT_ENV, "").encode()
        self._keys = ApiKeys(settings.gate.api_keys) if settings.gate.api_keys else None
        self._log = RequestLog(settings.gate.paths) if settings.logs.requests else None
        self._intake = Intake(settings.gate)
        self._bounds = limits.Bounds(
            settings.gate.limits,
            settings.engine.images_per_prompt,
            settings.gate.strict_tools,
            settings.engine.media_domains,
            speculation=settings.engine.speculation is not None,
        )
        connections.bound_heads(
            settings.gate.limits.head_seconds,
            settings.gate.limits.header_bytes,
            on_refused=lambda reason: metrics.REFUSALS.labels(reason).inc(),
        )
        self._draining = Draining(os.environ)
        self._pace = Pace(settings.gate.limits.refusals_per_second, time.monotonic)
        self._models = Models(app)
        self._scrapes = Scrapes(app)
        self._lacks_effort = lacks_effort(settings.model.path)
        self._context_window = ContextWindow(self._models, settings.engine.context_length)
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
        reply = Reply(
            *(scope, send, self._pace, self._settings.allowed_origins, self._log),
            draining=self._draining,
        )
        try:
            try:
                await self._respond(reply.scope(), receive, reply)
            except Exception as error:
                await reply.fail(error)
            await reply.finish()
        finally:
            reply.log()

    async def _respond(self, scope: Scope, receive: Receive, send: Reply) -> None:
        refusal = self._refusal(scope, send) or head_refusal(scope, self._settings)
        if refusal is not None:
            await _refuse(refusal, send)
        elif scope["method"] == "OPTIONS":
            await send.send_options()
        elif scope["path"] == METRICS_PATH:
            await self._scrapes.respond(scope, send)
        elif is_model(scope):
            await self._models.respond(scope, send)
        elif has_body(scope):
            await self._receive(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _receive(self, scope: Scope, receive: Receive, send: Reply) -> None:
        """Receive the body of a request, and handle it if it is within the limits."""
        try:
            body = await self._intake.body(receive)
        except ClientGone:
            return
        if isinstance(body, Refusal):
            await _refuse(body, send)
            return
        send.body = body
        generates = scope["method"] == "POST" and scope["path"] in OBSERVED_PATHS
        refusal = None
        if generates and not is_json(scope):
            refusal = wrong_media_type()
        elif generates and not _is_loop_policy(header(scope, LOOPS_HEADER)):
            refusal = unknown_loop_policy()
        elif generates or (body and may_be_json(scope)):
            refusal = self._evaluate(body)
        if refusal is not None:
            await _refuse(refusal, send)
        elif generates:
            await self._generate(scope, body, receive, send)
        else:
            await self._app(scope, Replay(body, receive), send)

    def _is_from_supervisor(self, scope: Scope) -> bool:
        token = header(scope, SERVER_TOKEN_HEADER.encode())
        return bool(self._token) and hmac.compare_digest(token or b"", self._token)

    def _is_misdirected(self, scope: Scope) -> bool:
        """Return whether the activator sent a request here that is for another endpoint.

        Its addresses come from EndpointSlices, in which a tenant can list pods of another.
        """
        meant = header(scope, ENDPOINT_HEADER.encode())
        return bool(self._endpoint) and meant is not None and meant != self._endpoint

    def _refusal(self, scope: Scope, send: Reply) -> Refusal | None:
        if self._is_misdirected(scope):
            return misdirected()
        path = scope["path"]
        if not is_open(path, self._settings.paths):
            return closed_path(path)
        send.generates = may_generate(scope["method"], path)
        # A browser sends no key with OPTIONS, and no path does anything for it.
        keyless = path in KEYLESS_PATHS or scope["method"] == "OPTIONS"
        keys = None if keyless else self._keys
        if keys is not None:
            client = keys.client(header(scope, b"authorization"))
            if client is None:
                return unknown_key()
            send.client = client.name
        return scrape_refusal(scope)

    def _evaluate(self, body: bytes) -> Refusal | None:
        """Return the response to a body that the engine must not read."""
        refusal = limits.unread_refusal(body, self._settings.limits)
        if refusal is not None:
            return refusal
        try:
            return limits.refusal(read_object(body), len(body), self._bounds)
        except NotJson as error:
            return not_json(str(error))
        except Exception:
            # Only an odd request gets here, and it must not get past the limits this way.
            _log.exception("Cannot evaluate a request; it is rejected")
            metrics.ERRORS.labels("request").inc()
            return not_a_request("the gate cannot read it")

    async def _generate(self, scope: Scope, body: bytes, receive: Receive, send: Reply) -> None:
        prepared = await self._prepare(scope, body)
        if isinstance(prepared, Refusal):
            await _refuse(prepared, send)
            return
        if prepared is None:
            await self._app(scope, Replay(body, receive), send)
            return
        scope = {**scope, "headers": with_length(scope["headers"], len(prepared.body))}
        may_stop = prepared.options.loops == "Stop"
        replay = Replay(prepared.body, receive, abortable=may_stop)
        exchange = Exchange(prepared.options, self._settings, replay, send, send.request())
        try:
            await self._app(scope, replay, exchange.send)
        finally:
            send.generated = await exchange.close()

    async def _prepare(self, scope: Scope, body: bytes) -> Prepared | Refusal | None:
        """Return the request for the engine, or None to forward it unchanged."""
        action = _ACTIONS.get((header(scope, LOOPS_HEADER) or b"").strip().lower())
        try:
            context_length = (
                await self._context_window.tokens(scope) if needs_context_length(body) else None
            )
            system_prompt = (
                self._system_prompt.render() if self._system_prompt is not None else None
            )
            chat = scope["path"] == CHAT_PATH
            missing = self._system_prompt is not None and system_prompt is None
            if missing and chat and lacks_system(body):
                return no_system_prompt()  # and not the answers of a model without it
            prepared = prepare(
                body,
                chat=chat,
                loops=action or self._settings.loops.action,
                policy=RequestPolicy(
                    self._settings, system_prompt, context_length, self._lacks_effort
                ),
            )
        except UNREADABLE as error:
            # The JSON was read before, so a field has another type than the engine's.
            param = _PARAM.search(str(error))
            return not_a_request(str(error), param and param[1])
        except Exception:
            _log.exception("Cannot process a request; it is passed on unchanged")
            metrics.ERRORS.labels("request").inc()
            return None
        for change in prepared.changes:
            metrics.CHANGES.labels(change).inc()
        return prepared


def _is_loop_policy(value: bytes | None) -> bool:
    """Return whether a header selects a policy, or is not there."""
    return not (value or b"").strip() or (value or b"").strip().lower() in _ACTIONS


async def _refuse(refusal: Refusal, send: Reply) -> None:
    send.refused = refusal.reason
    metrics.REFUSALS.labels(refusal.reason).inc()
    await refusal.send(send)
