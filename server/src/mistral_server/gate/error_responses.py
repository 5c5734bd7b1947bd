"""Reject requests in the format of OpenAI's API, which client libraries turn into exceptions."""

import json
from dataclasses import dataclass

from mistral_server.gate.asgi import Send

INVALID = "invalid_request_error"
SERVER = "server_error"
RESPONSES_PATH = "/v1/responses"


def error_body(message: str, kind: str, code: str, param: str | None = None) -> bytes:
    """Return the body of an error."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return json.dumps({"error": error}).encode()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A response in place of the application's."""

    reason: str
    """One of `metrics.REFUSAL_REASONS`."""
    status: int
    type: str
    code: str
    message: str
    closes: bool = False
    """Whether the connection is closed after the response: the rest of its request is not read."""
    param: str | None = None
    """The field of the request that is wrong."""

    async def send(self, send: Send) -> None:
        """Send the response."""
        body = error_body(self.message, self.type, self.code, self.param)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        if self.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if self.status == 405:
            headers.append((b"allow", b"GET"))
        if self.status == 503:
            headers.append((b"retry-after", b"5"))
        if self.closes:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def closed_path(path: str) -> Refusal:
    """Return the response to a path that is not on the list."""
    # The default of that client; one setting changes it.
    hint = " (for OpenAI's Agents SDK: set_default_openai_api('chat_completions'))"
    return Refusal(
        *("path", 404, INVALID, "path_not_open"),
        f"{path} is not available at this endpoint: send chats to /v1/chat/completions"
        f"{hint if path == RESPONSES_PATH else ''}, or contact the administrator of the endpoint.",
    )


def unsupported_method(method: str, path: str, allowed: str) -> Refusal:
    """Return the response to a method that a path does not have."""
    return Refusal(
        *("path", 405, INVALID, "method_not_supported"),
        f"{method[:20]} is not supported for {path}: send {allowed}.",
    )


def unknown_model(name: str) -> Refusal:
    """Return the response to a request for a model that the endpoint does not serve."""
    return Refusal(
        *("invalid_request", 404, INVALID, "model_not_found"),
        f"The model `{name[:200]}` does not exist: send a GET to /v1/models for the names.",
        param="model",
    )


def misdirected() -> Refusal:
    """Return the response to a request that is meant for another endpoint (RFC 9110, 15.5.20)."""
    return Refusal(
        *("endpoint", 421, INVALID, "misdirected_request"),
        "The request is for another endpoint, and none of its replicas is at this address: send it"
        " to the Service of that endpoint.",
        closes=True,
    )


def unknown_key() -> Refusal:
    """Return the response to a request without a valid key."""
    return Refusal(
        *("api_key", 401, INVALID, "invalid_api_key"),
        "The API key is missing or invalid: send a valid one as `Authorization: Bearer KEY`.",
    )


def too_large(limit: int) -> Refusal:
    """Return the response to a request that is larger than allowed."""
    return Refusal(
        *("body_too_large", 413, INVALID, "request_too_large"),
        f"The request is larger than {limit} bytes, the maximum of this endpoint: send fewer or"
        " smaller images, or shorten the conversation.",
        closes=True,
    )


def headers_too_large(limit: int) -> Refusal:
    """Return the response to a request with too many or too long headers."""
    return Refusal(
        *("header_bytes", 431, INVALID, "headers_too_large"),
        f"The headers are larger than {limit} bytes: send fewer or shorter ones"
        " (limit header_bytes of this endpoint).",
        closes=True,
    )


def invalid_length() -> Refusal:
    """Return the response to a Content-Length that is not a number of bytes."""
    return Refusal(
        *("content_length", 400, INVALID, "invalid_content_length"),
        "The header Content-Length is not a number of bytes.",
        closes=True,
    )


def encoded() -> Refusal:
    """Return the response to a compressed request."""
    return Refusal(
        *("content_encoding", 400, INVALID, "unsupported_content_encoding"),
        "The request is compressed, which the server does not read: send it without the header"
        " Content-Encoding.",
        closes=True,
    )


def wrong_media_type() -> Refusal:
    """Return the response to a request that does not declare itself as JSON."""
    return Refusal(
        *("content_type", 400, INVALID, "unsupported_content_type"),
        "The request is not declared as JSON: send the header `Content-Type: application/json`.",
    )


def too_slow(seconds: int) -> Refusal:
    """Return the response to a body that does not arrive."""
    return Refusal(
        *("body_seconds", 408, INVALID, "request_timeout"),
        f"The request did not arrive within {seconds} seconds: send less, or send it faster"
        " (limit body_seconds of this endpoint).",
        closes=True,
    )


def too_many_bytes(limit: int) -> Refusal:
    """Return the response while other requests take all the memory for bodies."""
    return Refusal(
        *("received_bytes", 503, SERVER, "overloaded"),
        f"The server is receiving {limit} bytes of requests already: retry shortly"
        " (limit received_bytes of this endpoint).",
        closes=True,
    )


def not_json(reason: str) -> Refusal:
    """Return the response to a body that is not one JSON object."""
    return Refusal(
        *("not_json", 400, INVALID, "invalid_json"),
        f"The request is not a JSON object in UTF-8 (RFC 8259): {reason}.",
    )


def not_a_request(reason: str, param: str | None = None) -> Refusal:
    """Return the response to JSON that has a field of another type than the engine's."""
    return Refusal(
        *("invalid_request", 400, INVALID, "invalid_request"),
        f"The request has an invalid field: {reason}.",
        param=param,
    )


def empty(field: str) -> Refusal:
    """Return the response to a request whose messages or inputs are an empty list."""
    return Refusal(
        *("invalid_request", 400, INVALID, "empty_array"),
        f"{field} is empty: send at least one message.",
        param=field,
    )


def unknown_loop_policy() -> Refusal:
    """Return the response to a header that selects no policy for loops."""
    return Refusal(
        *("invalid_request", 400, INVALID, "invalid_value"),
        "The header X-Mistral-Loops is none of off, observe and stop: correct or remove it.",
    )


def no_system_prompt() -> Refusal:
    """Return the response to chats that would go without the prompt that their owner wants."""
    return Refusal(
        *("system_prompt", 503, SERVER, "system_prompt_unavailable"),
        "The system prompt of this endpoint cannot be read: retry later, or send a system message.",
    )


def limit_exceeded(limit: str, sentence: str, *, status: int = 400) -> Refusal:
    """Return the response to a request beyond one of the limits.

    Args:
        limit: the field of `LimitSettings`, which is the metric's label too.
        sentence: what the request has too much of, without full stop.
        status: 413 if it is the size of the request.
    """
    return Refusal(
        *(limit, status, INVALID, "limit_exceeded"),
        f"{sentence}: send less (limit {limit} of this endpoint).",
    )


def unreadable_image(which: str, param: str) -> Refusal:
    """Return the response to an image whose size cannot be told from its header."""
    return Refusal(
        *("image_format", 400, INVALID, "unreadable_image"),
        f"The header of {which} shows no size: send a PNG, JPEG, WEBP or GIF in base64.",
        param=param,
    )


def not_base64(which: str, param: str) -> Refusal:
    """Return the response to a `data:` URL of another encoding."""
    return Refusal(
        *("image_format", 400, INVALID, "invalid_base64"),
        f"{which[0].upper()}{which[1:]} is not in base64: send a data: URL such as"
        " data:image/png;base64,iVBORw...",
        param=param,
    )


def image_url_not_allowed(which: str, param: str, *, remote: bool) -> Refusal:
    """Return the response to an image that the endpoint does not fetch.

    Args:
        which: the image.
        param: its place in the request.
        remote: whether its URL is one of HTTP; another scheme is never fetched.
    """
    advice = ", or ask the administrator of the endpoint to allow its host" if remote else ""
    return Refusal(
        *("image_url", 400, INVALID, "image_url_not_allowed"),
        f"This endpoint does not fetch {which} by its URL: send it as a data: URL in base64"
        f"{advice}.",
        param=param,
    )


def without_speculation(field: str) -> Refusal:
    """Return the response to a parameter that an engine with speculative decoding lacks."""
    return Refusal(
        *("speculation", 400, INVALID, "unsupported_value"),
        f"This endpoint uses speculative decoding, which does not support {field}: send the request"
        f" without {field}.",
        param=field,
    )


def out_of_range(field: str, low: float, high: float) -> Refusal:
    """Return the response to a number that the engine cannot compute with."""
    return Refusal(
        *("out_of_range", 400, INVALID, "invalid_value"),
        f"{field} is not a number from {low:g} to {high:g}: correct it.",
        param=field,
    )
