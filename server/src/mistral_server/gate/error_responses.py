"""Reject requests in the format of OpenAI's API, which client libraries turn into exceptions."""

import json
from dataclasses import dataclass

from mistral_server.gate.asgi import Send


@dataclass(frozen=True, slots=True)
class Refusal:
    """A response in place of the application's."""

    reason: str
    """One of `metrics.REFUSAL_REASONS`."""
    status: int
    type: str
    code: str
    message: str

    async def send(self, send: Send) -> None:
        """Send the response."""
        error = {"message": self.message, "type": self.type, "param": None, "code": self.code}
        body = json.dumps({"error": error}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        if self.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def closed_path(path: str) -> Refusal:
    """Return the response to a path that is not on the list."""
    return Refusal(
        *("path", 404, "invalid_request_error", "path_not_open"),
        f"{path} is not available at this endpoint: send chats to /v1/chat/completions, or contact"
        " the administrator of the endpoint.",
    )


def unknown_key() -> Refusal:
    """Return the response to a request without a valid key."""
    return Refusal(
        *("api_key", 401, "invalid_request_error", "invalid_api_key"),
        "The API key is missing or invalid: send a valid one as `Authorization: Bearer KEY`.",
    )


def too_large(limit: int) -> Refusal:
    """Return the response to a request that is larger than allowed."""
    return Refusal(
        *("body_too_large", 413, "invalid_request_error", "request_too_large"),
        f"The request is larger than {limit} bytes, the maximum of this endpoint: send fewer or"
        " smaller images, or shorten the conversation.",
    )
