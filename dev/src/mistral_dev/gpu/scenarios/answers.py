"""Chats, streams, images: the requests of every client."""

import base64
import functools
import io
import random
import struct
import zlib
from typing import Any

from mistral_dev.gpu.scenario import ScenarioContext, Step

_STREAM_SECONDS = 60.0


def chat(context: ScenarioContext) -> None:
    """Answer a chat, within the contract of the API."""
    first = context.chat("Hello")
    again = context.chat("Hello", temperature=0)
    context.findings.equal("status", first.status, 200)
    context.findings.check("text or an end", bool(first.choices), first.text[:200])
    context.findings.note(first_s=round(first.seconds, 2), then_s=round(again.seconds, 2))
    context.findings.note(fingerprint=first.events[0].get("system_fingerprint"))


def stream(context: ScenarioContext) -> None:
    """Stream a generation to its end."""
    tokens = context.rig.scale.stream_tokens
    response = context.chat(
        "Tell me a story",
        stream=True,
        max_tokens=tokens,
        ignore_eos=True,
        stream_options={"include_usage": True},
    )
    context.findings.check("it ends with [DONE]", response.text.rstrip().endswith("data: [DONE]"))
    context.findings.equal("finish", response.finish, "length")
    context.findings.equal("tokens", response.usage.get("completion_tokens"), tokens)
    context.findings.note(
        seconds=round(response.seconds, 2), per_second=round(tokens / response.seconds, 1)
    )


def images(context: ScenarioContext) -> None:
    """Send as many images as a prompt may hold, as large as they are taken, and one too many."""
    scale = context.rig.scale
    response = context.chat(**image_prompt(scale.images, scale.image_side))
    prompt = response.usage.get("prompt_tokens", 0)
    context.findings.equal("status", response.status, 200)
    context.findings.check("tokens of the images", prompt >= scale.image_tokens, prompt)
    context.findings.note(prompt_tokens=prompt, seconds=round(response.seconds, 2))
    refused = context.chat(**image_prompt(scale.images + 1, 28))
    context.findings.equal("status of one image too many", refused.status, 400)


def image_prompt(count: int, side: int) -> dict[str, Any]:
    """Return the fields of a chat with images."""
    parts: list[dict[str, object]] = [{"type": "text", "text": "Describe."}]
    for number in range(count):
        url = f"data:image/png;base64,{base64.b64encode(picture(side, number)).decode()}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return {"messages": [{"role": "user", "content": parts}], "max_tokens": 4}


@functools.cache
def picture(side: int, seed: int) -> bytes:
    """Return a square PNG of one color; no imaging library is needed for that."""
    color = bytes(random.Random(seed).randrange(256) for _ in range(3))  # noqa: S311 - a color
    rows = (b"\0" + color * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    file = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    file.seek(0, io.SEEK_END)
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        file.write(struct.pack(">I", len(data)) + name + data + checksum)
    return file.getvalue()


CHAT = Step("chat", chat, 60)
STREAM = Step("stream", stream, _STREAM_SECONDS)
IMAGES = Step("images", images, 60)
