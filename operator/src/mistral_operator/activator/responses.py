"""Responses that the activator sends itself, in the format of the OpenAI API. Pure."""

import json
from collections.abc import Mapping

from aiohttp import web

from mistral_operator.scale_to_zero import Terms

_HEALTH_PATHS = {"/health", "/ping"}
"""Health checks. An endpoint that is scaled to zero is healthy."""


def error_response(
    status: int, message: str, code: str, retry_after: int | None = None
) -> web.Response:
    """Return an error in the format that OpenAI clients parse.

    Args:
        status: HTTP status.
        message: what is wrong, and what to do.
        code: the same in one word, for programs.
        retry_after: seconds after which the client should retry.
    """
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    response = web.Response(
        status=status, text=json.dumps({"error": error}), content_type="application/json"
    )
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    response.force_close()
    return response


def response_while_scaled_to_zero(
    method: str, path: str, headers: Mapping[str, str], terms: Terms
) -> web.Response | None:
    """Return the response to a request that must not start a replica, None for one that does.

    Probes of load balancers and lists of models are sent periodically, and would prevent the
    endpoint from ever being scaled to zero.
    """
    if terms.keys and "Authorization" not in headers and method != "OPTIONS":
        return error_response(
            401, "API key missing: send it as Authorization: Bearer KEY", "invalid_api_key"
        )
    if method not in {"GET", "HEAD"}:
        return None
    if path in _HEALTH_PATHS:
        return web.Response()
    if path == "/v1/models":
        model = {"id": terms.model, "object": "model", "created": 0, "owned_by": "vllm"}
        return web.json_response({"object": "list", "data": [model]})
    return error_response(
        503, f"the endpoint is scaled to zero; {method} does not start it, POST does", "asleep", 60
    )
