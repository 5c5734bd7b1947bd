"""How large the images of a request are, from their headers. Pure.

A PNG of 24 KB can have 178 million pixels, which take gigabytes once they are decoded.
"""

import binascii
import io
import struct
import warnings
from dataclasses import dataclass
from typing import Any

_HEADER = 64 * 1024
"""Characters of base64 that are decoded first; a multiple of four. Most headers are within."""

_READS = 4096
"""How often one header is read from, or chunks of a PNG. A photo with a profile takes some 200."""

_BYTES = 2**20
"""Bytes of one header that are read."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_ENDS = frozenset({b"IDAT", b"fdAT", b"IEND"})

_FORMATS = ("JPEG", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF")
"""Formats of Pillow whose sizes can be read without decoding; older ones lack the last. vLLM reads
thirty more, of which ICO and others are decoded by opening them."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a request."""

    number: int
    """Its number in the request, from 1."""
    param: str
    """Where it is in the request, such as `messages[0].content[1].image_url`."""
    url: str

    @property
    def words(self) -> str:
        """The image in the words of a message to the client."""
        return f"image {self.number} ({self.param})"


def images_of(document: dict[str, Any]) -> list[Image]:
    """Return the images of a chat, also those that are not in the request itself."""
    parts = [
        (f"{name}[{at}].content[{within}].image_url", part)
        for name in ("messages", "input")
        for at, message in enumerate(_list(document.get(name)))
        if isinstance(message, dict)
        for within, part in enumerate(_list(message.get("content")))
        if isinstance(part, dict)
    ]
    urls = [(param, _url(part.get("image_url"))) for param, part in parts]
    with_urls = [(param, url) for param, url in urls if url is not None]
    return [Image(number, param, url) for number, (param, url) in enumerate(with_urls, start=1)]


def first_not_base64(document: dict[str, Any]) -> str | None:
    """Return the first image whose data has other characters than base64, in words."""
    for image in images_of(document):
        if is_data(image.url):
            _, _, encoded = image.url.partition(",")
            try:
                binascii.a2b_base64(encoded, strict_mode=True)
            except ValueError:
                return image.words.capitalize()
    return None


def is_base64(url: str) -> bool:
    """Return whether a `data:` URL declares its content as base64."""
    head, comma, _ = url.partition(",")
    return bool(comma) and head.lower().endswith(";base64")


def is_remote(url: str) -> bool:
    """Return whether a URL is one of HTTP."""
    return url[:8].lstrip().lower().startswith(("http:", "https:"))


def is_data(url: str) -> bool:
    """Return whether a URL holds its content itself."""
    return url[:32].lstrip().lower().startswith("data:")


def pixels(url: str) -> int | None:
    """Return how many pixels the image of a `data:` URL has; None if its header does not show it.

    That is no image, or one whose header takes too long to read, which the engine would read too.
    """
    _, _, encoded = url.partition(",")
    try:
        count = _pixels(encoded[:_HEADER]) if len(encoded) > _HEADER else None
        return _pixels(encoded) if count is None else count
    except _TooLong:
        return None


class _TooLong(Exception):
    """A header takes too long to read."""


class _Header(io.BytesIO):
    """An image of which only so much can be read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._reads, self._bytes = _READS, _BYTES

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes.

        Raises:
            _TooLong: too much was read.
        """
        content = super().read(size)
        self._reads -= 1
        self._bytes -= len(content)
        if self._reads < 0 or self._bytes < 0:
            raise _TooLong
        return content


def _pixels(encoded: str) -> int | None:
    try:
        content = binascii.a2b_base64(encoded)
    except ValueError:
        return None
    if content.startswith(_PNG):
        return _png_pixels(content)
    if content.startswith(b"RIFF"):
        return _webp_pixels(content)
    return _other_pixels(content)


def _png_pixels(content: bytes) -> int | None:
    """Return the largest size before the pixels: Pillow takes the last of several.

    Pillow itself inflates texts and profiles on the way, to a megabyte each.
    """
    count, at = None, len(_PNG)
    for _ in range(_READS):
        if at + 8 > len(content):
            return None
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind in _PNG_ENDS:
            return count
        if kind == b"IHDR" and at + 16 <= len(content):
            width, height = struct.unpack_from(">II", content, at + 8)
            count = max(count or 0, width * height)
        at += length + 12
    raise _TooLong


def _webp_pixels(content: bytes) -> int | None:
    """Return the size of the canvas. Pillow reads all of the file, and allocates the canvas."""
    if len(content) < 30 or content[8:12] != b"WEBP":
        return None
    kind = content[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8 ":
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", content, 26))
    elif kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        return None
    return width * height


def _other_pixels(content: bytes) -> int | None:
    # Only vLLM's environment is sure to have it, and the commands for files do without.
    from PIL import Image as Pillow

    try:
        # It warns of large or odd images, and rejects the largest by itself.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Pillow.open(_Header(content), formats=_FORMATS) as image:
                return image.width * image.height
    except Pillow.DecompressionBombError:
        return 2**63
    except _TooLong:
        raise
    except Exception:  # a broken image: plugins raise whatever they come across
        return None


def _url(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("url")
    return value if isinstance(value, str) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
