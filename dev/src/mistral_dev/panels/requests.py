"""The kinds of requests of the recorded load, good and bad ones.

The weights of the model are random. Biases on the format's control tokens make it call a tool, and
one allowed token makes it loop.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mistral_dev.conversation import FORCE_A_FINISHED_CALL, TOOL, png

_CHAT = "/v1/chat/completions"
_LOOP = {"allowed_token_ids": [1100], "temperature": 0, "stream": True}
_ENDLESS_CALL = {"9": 90, "32": 90, "2": -100}
"""Biases on [TOOL_CALLS] and [ARGS], and against the end of the text."""
_LONG_CITY = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "minLength": 1000}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@dataclass(frozen=True)
class Kind:
    """A kind of request.

    Args:
        name: what it is called.
        weight: how often it is sent, in relation to others.
        fields: of the request's body, besides model and messages.
        content: of the user's message.
        headers: of the request.
        leaves_after: seconds after which the client disconnects; None if it stays.
        path: where it is sent.
        text: what is sent instead of a chat.
    """

    name: str
    weight: float
    fields: Mapping[str, Any] = field(default_factory=dict)
    content: str | list[dict[str, Any]] = "Tell me a story."
    headers: Mapping[str, str] = field(default_factory=dict)
    leaves_after: float | None = None
    path: str = _CHAT
    text: bytes | None = None

    def body(self) -> bytes:
        """Return the request's body."""
        if self.text is not None:
            return self.text
        messages = [{"role": "user", "content": self.content}]
        return json.dumps({"model": "tiny", "messages": messages, **self.fields}).encode()


def _images(count: int) -> list[dict[str, Any]]:
    url = f"data:image/png;base64,{base64.b64encode(png(56, 56)).decode()}"
    images = [{"type": "image_url", "image_url": {"url": url}} for _ in range(count)]
    return [{"type": "text", "text": "What is this?"}, *images]


def _tool_without_strict() -> dict[str, Any]:
    function = {name: value for name, value in TOOL["function"].items() if name != "strict"}
    return {"type": "function", "function": function}


_ALL = (
    Kind("chat", 5, {"max_tokens": 40}),
    Kind("stream", 8, {"max_tokens": 80, "stream": True}),
    Kind("long stream", 3, {"max_tokens": 300, "stream": True, "ignore_eos": True}),
    Kind("image", 2, {"max_tokens": 16}, _images(1)),
    Kind("call", 5, {"max_tokens": 64, "tools": [TOOL], "logit_bias": FORCE_A_FINISHED_CALL}),
    Kind(
        "truncated call",
        0.5,
        {"max_tokens": 60, "tools": [_LONG_CITY], "logit_bias": _ENDLESS_CALL},
    ),
    Kind(
        "call of any tool",
        0.5,
        {
            "max_tokens": 64,
            "tools": [_tool_without_strict()],
            "logit_bias": FORCE_A_FINISHED_CALL,
        },
    ),
    Kind("loop", 0.5, {"max_tokens": 900, **_LOOP}),
    Kind("stopped loop", 0.5, {"max_tokens": 1500, **_LOOP}, headers={"X-Mistral-Loops": "stop"}),
    Kind("more tokens than fit", 0.5, {"max_tokens": 9999, "stream": True}, leaves_after=4),
    Kind("client that leaves", 0.5, {"max_tokens": 900, "ignore_eos": True}, leaves_after=2),
    Kind("too many images", 0.4, {"max_tokens": 8}, _images(4)),
    Kind("unknown model", 0.4, {"model": "gpt-4", "max_tokens": 8}),
    Kind("no JSON", 0.4, text=b'{"model": "tiny", "messages": ['),
    Kind("reserved endpoint", 0.4, path="/v1/load_lora_adapter", text=b"{}"),
    Kind("long generation", 1, {"max_tokens": 1800, "ignore_eos": True, "stream": True}),
    Kind("impatient client", 1, {"max_tokens": 8}, leaves_after=3),
)

KINDS = {kind.name: kind for kind in _ALL}

MIXED = tuple(name for name in KINDS if name not in {"long generation", "impatient client"})
"""What clients of an endpoint send all the time."""
