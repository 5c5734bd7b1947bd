"""Responses that the activator sends itself, in the format of the OpenAI API. Pure."""

import json
from collections.abc import Mapping

from aiohttp import web

from mistral_operator.activator.accepted_keys import api_key
from mistral_operator.scale_to_zero import Terms
from mistral_server.contract import (
    KEYLESS_PATHS,
    OPEN_PATHS,
    REQUEST_ID_HEADER,
    is_open,
    preflight_headers,
    request_id,
    response_headers,
)

_UNAUTHORIZED = 401
_MODEL_PATHS = ("/v1/models", "/v1/models/*")
_HEALTH_PATHS = {"/health", "/ping"}
"""Health checks. An endpoint that is scaled to zero is healthy."""


def error_response(
    status: int,
    message: str,
    code: str,
    retry_after: int | None = None,
    *,
    param: str | None = None,
) -> web.Response:
    """Return an error in the format that OpenAI clients parse.

    Args:
        status: HTTP status.
        message: what is wrong, and what to do.
        code: the same in one word, for programs.
        retry_after: seconds after which the client should retry.
        param: field of the request that is wrong.
    """
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    response = web.Response(
        status=status, text=json.dumps({"error": error}), content_type="application/json"
    )
    if status == _UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    response.force_close()
    return response


def response_while_scaled_to_zero(
    method: str, path: str, headers: Mapping[str, str], terms: Terms
) -> web.Response | None:
    """Return the response to a request that must not start a replica, None for one that does.

    Probes of load balancers and lists of models are sent periodically, and would prevent the
    endpoint from ever being scaled to zero. Of the rest, only what the gate of a replica would pass
    on may start one.
    """
    if not is_open(path, (*OPEN_PATHS, *terms.paths)):
        return error_response(
            404, f"{path} is not available: send chats to /v1/chat/completions", "path_not_open"
        )
    if method == "OPTIONS":
        # A preflight of a browser, which carries no key.
        requested = headers.get("Access-Control-Request-Headers")
        allowed = preflight_headers(headers.get("Origin"), requested, terms.origins)
        return web.Response(status=204, headers=dict(allowed))
    if path in KEYLESS_PATHS:
        return web.Response() if path in _HEALTH_PATHS else _scaled_to_zero()
    if terms.keys and not api_key(headers.get("Authorization")):
        return error_response(
            401, "API key missing: send it as Authorization: Bearer KEY", "invalid_api_key"
        )
    if is_open(path, _MODEL_PATHS) and method in {"GET", "HEAD"}:
        return _models(path, terms)
    if method == "POST" and not is_open(path, _MODEL_PATHS):
        return None
    return _scaled_to_zero()


def identify(response: web.StreamResponse, sent: Mapping[str, str], terms: Terms) -> None:
    """Give a response of the activator itself the headers that the gate of a replica gives its own.

    Args:
        response: that was not sent yet.
        sent: the headers of the request.
        terms: of the endpoint.
    """
    response.headers[REQUEST_ID_HEADER] = request_id(sent.get(REQUEST_ID_HEADER))
    response.headers.extend(response_headers(sent.get("Origin"), terms.origins))


def _models(path: str, terms: Terms) -> web.Response:
    """Return the list of models, or the one in the path."""
    model = {"id": terms.model, "object": "model", "created": 0, "owned_by": "vllm"}
    name = path.removeprefix("/v1/models").removeprefix("/")
    if not name:
        return web.json_response({"object": "list", "data": [model]})
    if name == terms.model:
        return web.json_response(model)
    message = f"The model `{name[:200]}` does not exist: send a GET to /v1/models for the names."
    return error_response(404, message, "model_not_found", param="model")


def _scaled_to_zero() -> web.Response:
    message = "no replica is ready; a chat by POST is queued until one is, this request is not"
    return error_response(503, message, "no_replica", 60)
