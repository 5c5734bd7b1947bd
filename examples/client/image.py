"""Ask about an image: `python image.py photo.jpg`, or without a file about one made on the spot.

The image travels inside the request, as a data: URL. That always works; a link works only where
`spec.images.domains` of the endpoint allows its host.
"""

import base64
import mimetypes
import struct
import zlib
from pathlib import Path

from endpoint import argument_parser, connect
from openai import OpenAI

QUESTION = "What do you see? Answer in one sentence."

WIDTH, HEIGHT = 280, 140
"""Pixels of the image made here. The model reads squares of 28 pixels, so this one costs
10 x 5 tokens, and one more for each of the 5 rows."""

RED, BLUE = b"\xd0\x20\x20", b"\x20\x40\xd0"


def half_red_half_blue() -> bytes:
    """Return a PNG: red on the left, blue on the right."""
    row = b"\0" + RED * (WIDTH // 2) + BLUE * (WIDTH - WIDTH // 2)  # \0: no filter
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(row * HEIGHT)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def data_url(image: bytes, media_type: str) -> str:
    """Return the image as a URL that holds it."""
    return f"data:{media_type};base64,{base64.b64encode(image).decode('ascii')}"


def read_image(path: Path) -> str:
    """Return the data: URL of a file.

    Raises:
        SystemExit: there is no such file, or its name is not that of an image.
    """
    media_type, _ = mimetypes.guess_type(path.name)
    if media_type is None or not media_type.startswith("image/"):
        raise SystemExit(f"{path} is not an image by its name: give a .png, .jpg or .webp")
    try:
        return data_url(path.read_bytes(), media_type)
    except OSError as error:
        raise SystemExit(f"{path} cannot be read: {error.strerror}") from error


def ask(client: OpenAI, model: str, question: str, url: str) -> str:
    """Return what the model says about an image."""
    completion = client.chat.completions.create(
        model=model,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": question},
                    {"type": "image_url", "image_url": {"url": url}},
                ],
            }
        ],
    )
    return completion.choices[0].message.content or ""


def main() -> None:
    """Run the program."""
    parser = argument_parser(__doc__)
    parser.add_argument("image", nargs="?", type=Path, help="file of an image")
    parser.add_argument("--question", default=QUESTION)
    arguments = parser.parse_args()

    made = data_url(half_red_half_blue(), "image/png")
    url = read_image(arguments.image) if arguments.image else made
    client, model = connect(arguments)
    print(ask(client, model, arguments.question, url))


if __name__ == "__main__":
    main()
