"""Fetches a document from an untrusted process."""

import logging
from collections.abc import Callable
from typing import TypeVar

import aiohttp

log = logging.getLogger(__name__)

D = TypeVar("D")

_MAX_BYTES = 65_536


def url_host(address: str) -> str:
    """Return an address as the host of a URL, with brackets around IPv6."""
    return f"[{address}]" if ":" in address else address


async def fetch_document(
    session: aiohttp.ClientSession,
    url: str,
    read: Callable[[bytes], D],
    max_bytes: int = _MAX_BYTES,
) -> D | None:
    """Return a document, None if it cannot be fetched or parsed; `read` then raises ValueError."""
    try:
        return read(await _read(session, url, max_bytes))
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        log.debug("%s does not answer: %s", url, error)
    except ValueError as error:
        log.warning("cannot read the response of %s: %s", url, error)
    return None


async def _read(session: aiohttp.ClientSession, url: str, max_bytes: int) -> bytes:
    """Return the body of a response, without redirects and up to a size: pods are not trusted."""
    text = bytearray()
    async with session.get(url, allow_redirects=False) as response:
        async for piece in response.content.iter_any():
            text += piece
            if len(text) > max_bytes:
                raise aiohttp.ClientPayloadError(f"response larger than {max_bytes} bytes")
    return bytes(text)
