"""How large the images of a request are, from their headers. Pure.

A PNG of 24 KB can have 178 million pixels, which take gigabytes once they are decoded.
"""

import binascii
import io
import warnings
from typing import Any

_HEADER = 64 * 1024
"""Characters of base64 that are decoded first; a multiple of four. Most headers are within."""


def image_urls(document: dict[str, Any]) -> list[str]:
    """Return the `data:` URLs of the images of a chat."""
    parts = [
        part
        for name in ("messages", "input")
        for message in _list(document.get(name))
        if isinstance(message, dict)
        for part in _list(message.get("content"))
        if isinstance(part, dict)
    ]
    urls = [_url(part.get("image_url")) for part in parts]
    return [url for url in urls if url is not None and is_data(url)]


def is_data(url: str) -> bool:
    """Return whether a URL holds its content itself."""
    return url[:32].lstrip().lower().startswith("data:")


def pixels(url: str) -> int:
    """Return how many pixels the image of a `data:` URL has; 0 if it is not an image.

    The engine then rejects it.
    """
    _, _, encoded = url.partition(",")
    return (_pixels(encoded[:_HEADER]) if len(encoded) > _HEADER else 0) or _pixels(encoded)


def _pixels(encoded: str) -> int:
    # Only vLLM's environment is sure to have it, and the commands for files do without.
    from PIL import Image

    try:
        # open() reads the header and decodes nothing. It warns of large images, and rejects the
        # largest by itself.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(binascii.a2b_base64(encoded))) as image:
                return image.width * image.height
    except Image.DecompressionBombError:
        return 2**63
    except Exception:  # a broken image: plugins raise whatever they come across
        return 0


def _url(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("url")
    return value if isinstance(value, str) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
