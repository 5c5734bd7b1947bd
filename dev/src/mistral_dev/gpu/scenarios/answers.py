"""Chats, streams, images: what every client asks for."""

import base64
import functools
import io
import random
import struct
import zlib
from typing import Any

from mistral_dev.gpu.scenario import Room, Step

_STREAM_SECONDS = 60.0


def chat(room: Room) -> None:
    """Answer a chat, within the contract of the API."""
    first = room.chat("Hello")
    again = room.chat("Hello", temperature=0)
    room.findings.equal("status", first.status, 200)
    room.findings.check("text or an end", bool(first.choices), first.text[:200])
    room.findings.note(first_s=round(first.seconds, 2), then_s=round(again.seconds, 2))
    room.findings.note(fingerprint=first.events[0].get("system_fingerprint"))


def stream(room: Room) -> None:
    """Stream a generation to its end."""
    tokens = room.rig.scale.stream_tokens
    reply = room.chat(
        "Tell me a story",
        stream=True,
        max_tokens=tokens,
        ignore_eos=True,
        stream_options={"include_usage": True},
    )
    room.findings.check("it ends with [DONE]", reply.text.rstrip().endswith("data: [DONE]"))
    room.findings.equal("finish", reply.finish, "length")
    room.findings.equal("tokens", reply.usage.get("completion_tokens"), tokens)
    room.findings.note(seconds=round(reply.seconds, 2), per_second=round(tokens / reply.seconds, 1))


def images(room: Room) -> None:
    """Send as many images as a prompt may hold, as large as they are taken, and one too many."""
    scale = room.rig.scale
    reply = room.chat(**image_prompt(scale.images, scale.image_side))
    prompt = reply.usage.get("prompt_tokens", 0)
    room.findings.equal("status", reply.status, 200)
    room.findings.check("tokens of the images", prompt >= scale.image_tokens, prompt)
    room.findings.note(prompt_tokens=prompt, seconds=round(reply.seconds, 2))
    refused = room.chat(**image_prompt(scale.images + 1, 28))
    room.findings.equal("status of one image too many", refused.status, 400)


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
