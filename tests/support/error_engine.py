"""Engines that answer with errors, and the requests that they answer so."""

import json
from typing import Any

from mistral_server.gate.asgi import Receive, Scope, Send

USER = {"role": "user", "content": "Hi"}
BODY: dict[str, Any] = {"messages": [USER]}
PNG = "data:image/png;base64,iVBORw0KGgo"


class ErrorEngine:
    """An application that answers with an error, whole or as a stream, or raises."""

    def __init__(self, status: int, body: bytes, **headers: str) -> None:
        self._status, self._body = status, body
        self._headers = {"content-type": "application/json", **headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name.encode(), value.encode()) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        half = len(self._body) // 2
        for part, more in ((self._body[:half], True), (self._body[half:], False)):
            await send({"type": "http.response.body", "body": part, "more_body": more})


def vllm(message: str, status: int = 400, kind: str = "BadRequestError", param: Any = None) -> Any:
    """Return an error as vLLM has it."""
    error = {"message": message, "type": kind, "param": param, "code": status}
    return ErrorEngine(status, json.dumps({"error": error}).encode())


def schema(of: Any) -> dict[str, Any]:
    """Return a chat that constrains its response."""
    return {
        **BODY,
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": of}},
    }


def images(*urls: str) -> dict[str, Any]:
    """Return a chat with images."""
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, *parts]}]}


MARK = "\n   1 | start: SAFE_WS? %json {}\n              ^\n   2 | body: content"
