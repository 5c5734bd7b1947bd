"""Which web pages of other origins may use an endpoint (CORS), for gate and activator alike. Pure.

A browser sends a preflight before a request with a key or with JSON, and shows a page only the
responses that name its origin. Origins are compared as they are: a browser sends them in lower case
and without the default port.
"""

import re

METHODS = "GET, HEAD, OPTIONS, POST"
"""What any path of an endpoint may be requested with."""

_MAX_AGE_SECONDS = 600
_EXPOSED = "retry-after, x-mistral-finish-reason, x-request-id"
"""Headers of a response that a page may read, beside those that it always may."""
_USUAL = "authorization, content-type"
_HEADER_NAMES = re.compile(r"[A-Za-z0-9,_ -]{1,2048}")
"""Names of headers that a preflight requests. OpenAI's client sends a dozen of its own."""

HeaderList = list[tuple[str, str]]


def response_headers(origin: str | None, allowed: tuple[str, ...]) -> HeaderList:
    """Return the headers of every response to a request.

    Args:
        origin: the header Origin of the request.
        allowed: the origins that may use the endpoint.
    """
    if not allowed:
        return []
    if origin not in allowed or origin is None:
        return [("vary", "Origin")]
    return [
        ("access-control-allow-origin", origin),
        ("access-control-expose-headers", _EXPOSED),
        ("vary", "Origin"),
    ]


def preflight_headers(
    origin: str | None, requested: str | None, allowed: tuple[str, ...]
) -> HeaderList:
    """Return further headers of the response to OPTIONS, whose status is 204.

    Args:
        origin: the header Origin of the request.
        requested: the header Access-Control-Request-Headers of the request.
        allowed: the origins that may use the endpoint.
    """
    if origin not in allowed:
        return [("allow", METHODS)]
    names = requested if requested is not None and _HEADER_NAMES.fullmatch(requested) else _USUAL
    return [
        ("allow", METHODS),
        ("access-control-allow-methods", METHODS),
        ("access-control-allow-headers", names),
        ("access-control-max-age", str(_MAX_AGE_SECONDS)),
    ]
