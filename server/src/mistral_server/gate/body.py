"""Receive the body of a request: within bounds of size and time, on every path."""

import asyncio
import re
from email.message import Message

from mistral_server.contract import GateSettings
from mistral_server.gate import error_responses
from mistral_server.gate.asgi import Receive, Scope, header
from mistral_server.gate.error_responses import Refusal

_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
_LENGTH_DIGITS = 19
"""More digits than any length has. int() takes time that is quadratic in their number."""

_PLAIN = re.compile(rb"[\t -~]*+")
"""A content type that every reader understands alike. The servers accept other bytes too, and
FastAPI takes those of Latin-1 that are spaces for spaces."""


class ClientGone(Exception):
    """The client disconnected before its request was complete."""


def has_body(scope: Scope) -> bool:
    """Return whether a request may have a body."""
    return (
        scope["method"] not in _BODILESS
        or header(scope, b"content-length") is not None
        or header(scope, b"transfer-encoding") is not None
    )


def is_json(scope: Scope) -> bool:
    """Return whether the body is declared as JSON, as FastAPI decides it: by the same parser."""
    message = Message()
    message["content-type"] = (header(scope, b"content-type") or b"").decode("latin-1")
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (
        subtype == "json" or subtype.endswith("+json")
    )


def may_be_json(scope: Scope) -> bool:
    """Return whether an engine reads the body as JSON.

    FastAPI before 0.132 also reads a body that is not declared at all.
    """
    return not header(scope, b"content-type") or is_json(scope)


def head_refusal(scope: Scope, settings: GateSettings) -> Refusal | None:
    """Return the response to a request whose head alone is not acceptable."""
    limit = settings.limits.header_bytes
    size = len(scope.get("raw_path", b"")) + len(scope.get("query_string", b""))
    if size + sum(len(name) + len(value) for name, value in scope["headers"]) > limit:
        return error_responses.headers_too_large(limit)
    encoding = (header(scope, b"content-encoding") or b"identity").strip().lower()
    if encoding != b"identity":
        return error_responses.encoded()
    if not _PLAIN.fullmatch(header(scope, b"content-type") or b""):
        return error_responses.wrong_media_type()
    length = header(scope, b"content-length")
    if length is None:
        return None
    if not length.isdigit() or len(length) > _LENGTH_DIGITS:
        return error_responses.invalid_length()
    if int(length) > settings.max_body_bytes:
        return error_responses.too_large(settings.max_body_bytes)
    return None


class Intake:
    """Receives bodies, and knows how many bytes this process is receiving."""

    def __init__(self, settings: GateSettings) -> None:
        self._settings = settings
        self.receiving = 0
        """Bytes of all bodies that are not complete yet."""

    async def body(self, receive: Receive) -> bytes | Refusal:
        """Return the whole body, or the response to one that exceeds a limit.

        Raises:
            ClientGone: the client disconnected.
        """
        seconds = self._settings.limits.body_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._body(receive)
        except TimeoutError:
            return error_responses.too_slow(seconds)

    async def _body(self, receive: Receive) -> bytes | Refusal:
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGone
                part = message.get("body", b"")
                size += len(part)
                self.receiving += len(part)
                if size > self._settings.max_body_bytes:
                    return error_responses.too_large(self._settings.max_body_bytes)
                if self.receiving > self._settings.limits.received_bytes:
                    return error_responses.too_many_bytes(self._settings.limits.received_bytes)
                parts.append(part)
                if not message.get("more_body", False):
                    # Appending to one buffer is quadratic for a 5 MB image.
                    return b"".join(parts)
        finally:
            self.receiving -= size
