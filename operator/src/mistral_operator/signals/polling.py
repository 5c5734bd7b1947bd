"""Fetching a document from a process that is not trusted."""

import logging
from typing import TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

log = logging.getLogger(__name__)

D = TypeVar("D", bound=BaseModel)

_MAX_BYTES = 65_536


def bracketed(address: str) -> str:
    """Return an address as a URL holds it."""
    return f"[{address}]" if ":" in address else address


async def fetch(
    session: aiohttp.ClientSession, url: str, document: type[D], most: int = _MAX_BYTES
) -> D | None:
    """Return a document, None if it cannot be had or read."""
    try:
        return document.model_validate_json(await _read(session, url, most))
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        log.debug("%s does not answer: %s", url, error)
    except ValidationError as error:
        log.warning("cannot read the response of %s: %s", url, error)
    return None


async def _read(session: aiohttp.ClientSession, url: str, most: int) -> bytes:
    """Return a whole answer; no pod is trusted to send us elsewhere or to flood us."""
    text = bytearray()
    async with session.get(url, allow_redirects=False) as response:
        async for piece in response.content.iter_any():
            text += piece
            if len(text) > most:
                raise aiohttp.ClientPayloadError(f"response larger than {most} bytes")
    return bytes(text)
