"""What the engine says in other shapes, in the format of OpenAI's API. Pure.

vLLM reports `NotFoundError` and the number 404 where OpenAI's clients look for `model_not_found`,
FastAPI reports a `detail`, and some sentences are those of a library within: a grammar's line, the
text of a KeyError, or a host that stands for none.
"""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from mistral_server.gate.engine_error_rules import RULES, ClientRequest, Rule, prompt_field
from mistral_server.gate.error_responses import INVALID, SERVER, error_body

MAX_BODY_BYTES = 1024 * 1024
"""Bytes of an error that are read. Some versions repeat the request in each of its errors."""
_MAX_MESSAGE = 1000

_CODES = {
    401: "invalid_api_key",
    403: "forbidden",
    404: "not_found",
    405: "method_not_supported",
    408: "request_timeout",
    409: "conflict",
    413: "request_too_large",
    429: "rate_limit_exceeded",
    500: "internal_error",
    503: "overloaded",
}
_BUSY = frozenset({429, 503})

_ERROR = re.compile(
    r"'loc': (\(.*?\)|'[^']*'), 'msg': (?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")"
)
"""One of pydantic's errors, as vLLM prints it."""
_MISSING = re.compile(r"\d+ validation errors?:\s+\{'type': 'missing'")
_NAME = re.compile(r"[a-z_][a-z0-9_]*|\d+")
_SUFFIX = re.compile(r" \(parameter=[\w.]+(?:, value=.*)?\)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class EngineError:
    """An error in the format of OpenAI's API."""

    status: int
    message: str
    code: str
    param: str | None = None
    hidden: str = ""
    """The engine's own message, if it is about the server and the client does not see it."""

    @property
    def type(self) -> str:
        """The kind of the error."""
        if self.status == 429:
            return "rate_limit_error"
        return INVALID if self.status < 500 else SERVER

    def body(self) -> bytes:
        """Return the body of the response."""
        return error_body(self.message, self.type, self.code, self.param)


def translated(
    status: int, body: bytes, request: ClientRequest, allow: str = ""
) -> EngineError | None:
    """Return an error of the engine in OpenAI's format, or None for one that is in a format.

    Args:
        status: of the response.
        body: of the response.
        request: the request.
        allow: the header Allow of the response.
    """
    if len(body) > MAX_BODY_BYTES:
        return _rewritten(status, "", None, request, allow)
    document = _decoded(body)
    error = document.get("error")
    if isinstance(error, dict) and isinstance(error.get("code"), int):
        return _rewritten(status, _text(error.get("message")), error.get("param"), request, allow)
    if isinstance(error, str) or "detail" in document:
        return _rewritten(status, _text(error or document["detail"]), None, request, allow)
    return None


def translated_event(data: bytes, request: ClientRequest) -> EngineError | None:
    """Return the error in the data of a stream's event; None for one in a format, or for none."""
    error = _decoded(data).get("error")
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return translated(status, data, request)


def of_exception(error: Exception, request: ClientRequest) -> EngineError:
    """Return the response to a request during which the engine raised an exception.

    It is the client's error if a rule knows the exception, and otherwise the server's.
    """
    rule = _find(500, str(error))
    if rule is not None:
        return _by_rule(rule, 500, str(error), None, request)
    return _internal(500, "", request)


def _rewritten(
    status: int, message: str, param: Any, request: ClientRequest, allow: str
) -> EngineError:
    rule = _find(status, message)
    if rule is not None:
        return _by_rule(rule, status, message, _field(param), request)
    if status == 501:  # vLLM's answer to what is not implemented for such a request
        status = 400
    if status >= 500 and status not in _BUSY:
        return _internal(status, message, request)
    if status == 405:
        verb = f": send {allow}" if allow else ""
        message = f"{request.method} is not supported for {request.path}{verb}."
    elif status == 404 and message in {"", "Not Found"}:
        message = f"{request.path} does not exist at this endpoint."
    missing = _MISSING.match(message)
    described, first = _described(message)
    param = _field(param) or first
    code = _CODES.get(status) or ("invalid_value" if param else "invalid_request")
    if missing and status == 400:
        code = "missing_required_parameter"
    return EngineError(status, _bounded(described), code, param)


def _find(status: int, message: str) -> Rule | None:
    rules = (rule for rule in RULES if rule.raised or status < 500)
    return next((rule for rule in rules if rule.pattern.search(message)), None)


def _by_rule(
    rule: Rule, status: int, message: str, param: str | None, request: ClientRequest
) -> EngineError:
    match = rule.pattern.search(message)
    groups = [one.strip() for one in match.groups("")] if match is not None else []
    if rule.message:
        image = rule.image(request) if rule.image is not None else ""
        # Not str.format of the groups: what the engine quotes may contain braces.
        text = rule.message.replace("{image}", image)
        message = text.replace("{0}", groups[0] if groups else "")
    else:
        message = _SUFFIX.sub("", message)
    if rule.code == "context_length_exceeded":
        param = param if param in {"max_tokens", "max_completion_tokens"} else prompt_field(request)
    elif callable(rule.param):
        param = rule.param(request)
    else:
        param = rule.param or param
    status = 404 if rule.code == "model_not_found" else status if status < 500 else 400
    return EngineError(status, _bounded(message), rule.code, param)


def _internal(status: int, message: str, request: ClientRequest) -> EngineError:
    shown = f"The server failed at this request. Its log has the reason under {request.request_id}."
    return EngineError(status, shown, _CODES[500], hidden=_bounded(message))


def _described(message: str) -> tuple[str, str | None]:
    """Return a message without what pydantic prints beside its sentences, and the first field."""
    sentences = []
    first = None
    for match in _ERROR.finditer(message):
        field = _field(".".join(re.findall(r"\w+", match[1])))
        first = first or field
        sentence = match[2] or match[3]
        sentence = f"{field}: {sentence}" if field else sentence
        if sentence not in sentences:
            sentences.append(sentence)
    return "; ".join(sentences) or _SUFFIX.sub("", message), first


def _field(location: Any) -> str | None:
    """Return `tokens[0]` for `body.tokens.0`, up to the first name that is none of the request."""
    parts: list[str] = []
    for part in _text(location).removeprefix("body.").split("."):
        if not _NAME.fullmatch(part) or (part.isdigit() and not parts):
            break
        parts.append(f"[{part}]" if part.isdigit() else f".{part}")
    return "".join(parts).removeprefix(".") or None


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _bounded(message: str) -> str:
    message = message.strip()
    return message if len(message) <= _MAX_MESSAGE else f"{message[:_MAX_MESSAGE]} ..."
