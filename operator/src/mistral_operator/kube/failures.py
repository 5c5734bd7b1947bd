"""Converts error responses of the API server into errors. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from mistral_operator.kube.errors import ClusterError, NamespaceTerminating, Unavailable

LONGEST_RETRY_AFTER = 30.0
"""Maximum delay from Retry-After in seconds; the API server sends 1 to 10."""

_NOT_FOUND = 404
_BAD_GATEWAY = 502
_NO_SUCH_PATH = b"404 page not found"
"""What the API server says of a group that it does not serve."""
_RETRIED = {410, 429, 500, 502, 503, 504}
"""Statuses of temporary failures. 410 is a list whose continuation token expired."""
_INVALID_PATCH = "failed to create typed patch object"
"""How the API server begins, with status 500, what it says of an applied object that breaks its
schema, such as a list of a map's kind with a key twice. It never accepts it."""


def error_of(status: int, headers: Mapping[str, str], text: bytes, request: str) -> ClusterError:
    """Return the error of a failed request, with the message of the API server."""
    body = _decoded(text)
    message = body.get("message")
    reason = message if isinstance(message, str) else text[:500].decode(errors="replace")
    if status == _NOT_FOUND and not _is_of_api_server(body, text):
        reason = f"the answer is not of an API server: {reason}"
        return Unavailable(_BAD_GATEWAY, reason, request)
    causes = _causes(body)
    if "NamespaceTerminating" in causes:
        return NamespaceTerminating(status, reason, request)
    if reason.startswith(_INVALID_PATCH):
        return ClusterError(status, reason, request)
    if status in _RETRIED or _is_transient_conflict(status, body, causes):
        return Unavailable(status, reason, request, retry_after=_retry_after(headers))
    return ClusterError(status, reason, request)


def _decoded(text: bytes) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _causes(body: dict[str, Any]) -> set[str]:
    details = body.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    if not isinstance(causes, list):
        return set()  # also where a proxy answers in place of the API server
    return {str(cause.get("reason", "")) for cause in causes if isinstance(cause, dict)}


def _is_of_api_server(body: dict[str, Any], text: bytes) -> bool:
    """Return whether a 404 means that there is no such object or kind.

    An object that does not exist is forgotten, with what was decided for it. So a proxy or an
    ingress that knows no way to the API server must not be believed.
    """
    return body.get("kind") == "Status" or text.strip() == _NO_SUCH_PATH


def _is_transient_conflict(status: int, body: dict[str, Any], causes: set[str]) -> bool:
    """Return whether a write collided with another write; if not, other managers own fields of it.

    The API server retries a patch five times before it responds with such a conflict.
    """
    return status == 409 and body.get("reason") == "Conflict" and not causes


def _retry_after(headers: Mapping[str, str]) -> float:
    value = headers.get("Retry-After", "")
    return min(float(value), LONGEST_RETRY_AFTER) if value.isdecimal() else 0.0
