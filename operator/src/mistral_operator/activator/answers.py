"""What the activator says itself, in the words of the OpenAI API. Pure."""

import json
from collections.abc import Mapping

from aiohttp import web

from mistral_operator.scale_to_zero import Terms

_LIVELY = {"/health", "/ping"}
"""Paths that ask whether the server works: a sleeping endpoint does."""


def refusal(status: int, message: str, code: str, retry_after: int | None = None) -> web.Response:
    """Return an error as clients of the OpenAI API read it.

    Args:
        status: of HTTP.
        message: what is wrong, and what to do.
        code: the same in one word, for programs.
        retry_after: seconds after which it is worth another try.
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


def while_asleep(
    method: str, path: str, headers: Mapping[str, str], terms: Terms
) -> web.Response | None:
    """Return the answer to a request that is no reason to wake an endpoint, None to one that is.

    Probes of load balancers and lists of models come again and again; they would keep it awake.
    """
    if terms.keys and "Authorization" not in headers and method != "OPTIONS":
        return refusal(
            401, "API key missing: send it as Authorization: Bearer KEY", "invalid_api_key"
        )
    if method not in {"GET", "HEAD"}:
        return None
    if path in _LIVELY:
        return web.Response()
    if path == "/v1/models":
        model = {"id": terms.model, "object": "model", "created": 0, "owned_by": "vllm"}
        return web.json_response({"object": "list", "data": [model]})
    return refusal(
        503, f"the endpoint is scaled to zero; {method} does not start it, POST does", "asleep", 60
    )
