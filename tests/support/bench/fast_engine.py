"""An engine that answers at once, for uvicorn: alone as `engine`, behind the gate as `gated`.

Run by three_ways.py, which wrote the answers to a file. As vLLM does, it gives token ids to
clients that request them, and other requests get their turn after every chunk. It imports nothing
of ours but for `gated`, so that its memory is its own.
"""

import asyncio
import functools
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ANSWERS_ENV = "FAST_ENGINE_ANSWERS"
"""Names a file: {"models": ..., "plain": ANSWER, "ids": ANSWER}, where ANSWER is
{"stream": [EVENT, ...], "whole": ...}, and `ids` has the token ids."""

FAST, PACED = "fast", "paced"
"""The models: one emits as fast as it can, the other at the pace of a GPU."""

PACE_SECONDS = 0.02

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


async def engine(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer a request: a chat, or which models there are."""
    if scope["method"] != "POST":
        await _send_whole(send, _answers()["models"])
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    request = json.loads(body)
    answer = _answers()["ids" if request.get("return_token_ids") else "plain"]
    if request.get("stream"):
        pace = PACE_SECONDS if request["model"] == PACED else 0
        await _send_stream(send, answer["stream"], pace)
    else:
        await _send_whole(send, answer["whole"])


def gated() -> Any:
    """Return the engine with the gate in front of it; its settings are in the environment."""
    from mistral_server.gate import Gate  # here, so that the engine alone is without

    return Gate(engine)  # type: ignore[arg-type]  # a dict is a mapping, and all that uvicorn sends


@functools.cache
def _answers() -> Any:
    return json.loads(Path(os.environ[ANSWERS_ENV]).read_text())


async def _send_stream(send: Send, events: list[str], pace: float) -> None:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    clock = asyncio.get_running_loop().time
    due = clock()
    for event in events:
        await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
        due += pace
        await asyncio.sleep(max(0, due - clock()))
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_whole(send: Send, text: str) -> None:
    body = text.encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
