"""Hostile requests to the real vLLM: each is refused before the engine has work with it.

Without the gate, each of them kept other clients waiting for up to 90 seconds, took gigabytes, or
was answered unobserved.
"""

import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from engine_requests import CHAT, ask, refused, user
from hostile_requests import image_part, png, with_parts
from server_runner import RunningServer

HI: dict[str, Any] = {"model": "tiny", "messages": [user("Hi")], "max_tokens": 5}
MANY_ITEMS = {"type": "array", "items": {"type": "string"}, "minItems": 10**6}


def sent(server: RunningServer, body: bytes | Iterator[bytes], path: str = CHAT) -> Any:
    """Send a body, chunked if it comes in parts; return status and error."""
    connection = http.client.HTTPConnection("127.0.0.1", server.settings.port, timeout=60)
    headers = {"content-type": "application/json"}
    chunked = not isinstance(body, bytes)
    # A request may be refused while it is sent; then the answer is there.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request("POST", path, body, headers, encode_chunked=chunked)
    try:
        response = connection.getresponse()
        return response.status, json.loads(response.read())["error"]["code"]
    finally:
        connection.close()


HOSTILE: dict[str, tuple[bytes, int, str]] = {
    "NaN": (json.dumps({**HI, "x": float("nan")}).encode(), 400, "not_json"),
    "UTF-16": (json.dumps(HI).encode("utf-16"), 400, "not_json"),
    "n": (json.dumps({**HI, "n": 10_000}).encode(), 400, "choices"),
    "minItems": (
        json.dumps({**HI, "structured_outputs": {"json": MANY_ITEMS}}).encode(),
        400,
        "repetitions",
    ),
    "a wide PNG": (
        json.dumps({**HI, **with_parts(image_part(png(13_000, 13_700)))}).encode(),
        400,
        "image_pixels",
    ),
    "repetition_penalty": (
        json.dumps({**HI, "repetition_penalty": 1e-300}).encode(),
        400,
        "out_of_range",
    ),
}


@pytest.mark.parametrize("title", HOSTILE)
def test_a_hostile_request_is_refused_and_costs_nothing(
    shared_server: RunningServer, title: str
) -> None:
    body, status, reason = HOSTILE[title]
    before = refused(shared_server, reason)

    assert sent(shared_server, body)[0] == status
    assert refused(shared_server, reason) == before + 1
    assert ask(shared_server, max_tokens=2).status == 200


@pytest.mark.parametrize("path", [CHAT, "/tokenize", "/detokenize"])
def test_a_chunked_body_ends_at_the_limit(shared_server: RunningServer, path: str) -> None:
    parts = (b" " * 2**20 for _ in range(300))
    limit = shared_server.settings.gate.max_body_bytes // 2**20
    # The server may close the connection before the client reads.
    with contextlib.suppress(ConnectionError, http.client.HTTPException):
        assert sent(shared_server, parts, path) == (413, "request_too_large")
    left = sum(1 for _ in parts)

    assert left > 300 - limit - 64  # what the sockets hold is sent, and no more
    assert refused(shared_server, "body_too_large") >= 1
    assert ask(shared_server, max_tokens=2).status == 200
