"""The requests that the demo sends to an endpoint, and the image that it sends.

The weights are random, so the answers are noise: the demo prints how long they are, not their text.
A bias on the logits makes the model call the tool that a real model would choose to call.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib

import click
from openai import OpenAI
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

_QUESTION = "Why is the sky blue? One sentence."

TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "Return the current time.",
        "strict": True,
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    },
}

FORCE_A_FINISHED_CALL = {"9": 90, "32": 90, "2": 100, "1125": 60}
"""Biases on [TOOL_CALLS], [ARGS], end of text and `}` of the tiny tokenizer."""

_SOME_TOKEN = 1100


def show(base_url: str) -> None:
    """Chat, stream, send an image, call a tool, and loop; print what came back."""
    client = OpenAI(base_url=base_url, api_key="EMPTY", timeout=120)
    model = client.models.list().data[0].id
    _chat(client, model)
    _stream(client, model)
    _image(client, model)
    _tool(client, model)
    _loop(client, model)


def _chat(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": _QUESTION}], max_tokens=24
    )
    _print("chat", _random_tokens(answer.usage))
    if answer.usage is not None:
        prompt = f"{answer.usage.prompt_tokens} prompt tokens with the official system prompt"
        _print("", f"{prompt}; {answer.system_fingerprint}")


def _stream(client: OpenAI, model: str) -> None:
    chunks = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": _QUESTION}],
        max_tokens=24,
        stream=True,
        stream_options={"include_usage": True},
    )
    received = list(chunks)
    usage = next((chunk.usage for chunk in received if chunk.usage), None)
    text_chunks = sum(bool(chunk.choices) for chunk in received)
    _print("stream", f"{_random_tokens(usage)} in {text_chunks} chunks")


def _image(client: OpenAI, model: str) -> None:
    url = f"data:image/png;base64,{base64.b64encode(png(56, 56)).decode()}"
    messages: list[ChatCompletionMessageParam] = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": url}},
            ],
        }
    ]
    answer = client.chat.completions.create(model=model, messages=messages, max_tokens=16)
    _print("image", _random_tokens(answer.usage))


def _tool(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "What time is it?"}],
        tools=[TOOL],
        tool_choice="auto",
        max_tokens=64,
        logit_bias=FORCE_A_FINISHED_CALL,
    )
    choice = answer.choices[0]
    for call in choice.message.tool_calls or []:
        if call.type == "function":
            text = call_text(call.function.name, call.function.arguments)
            _print("tool call", f"{text}, id {call.id}, finish_reason {choice.finish_reason}")


def call_text(name: str, arguments: str) -> str:
    """Return a tool call on one line; random weights put line breaks into its JSON."""
    return f"{name}({json.dumps(json.loads(arguments))})"


def _loop(client: OpenAI, model: str) -> None:
    """Let the model repeat one token endlessly, and the gate stop it."""
    limit = 1500
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Say it again."}],
        max_tokens=limit,
        extra_body={"allowed_token_ids": [_SOME_TOKEN]},
        extra_headers={"X-Mistral-Loops": "stop"},
    )
    usage = answer.usage
    if usage is not None:
        tokens = f"{usage.completion_tokens} of {limit} tokens"
        _print("loop", f"stopped after {tokens}, finish_reason {answer.choices[0].finish_reason}")


def png(width: int, height: int) -> bytes:
    """Return a picture with a gradient, made without an imaging library."""
    row = b"\0" + b"".join(bytes((x * 255 // width, 96, 160)) for x in range(width))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (
        _chunk(b"IHDR", header),
        _chunk(b"IDAT", zlib.compress(row * height)),
        _chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _random_tokens(usage: CompletionUsage | None) -> str:
    """Return the length of an answer whose text is noise."""
    return f"{0 if usage is None else usage.completion_tokens} random tokens"


def _print(label: str, text: str) -> None:
    click.echo(f"  {label:<10} {text}")
