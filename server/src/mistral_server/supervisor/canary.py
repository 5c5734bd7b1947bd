"""Ask the engine for one real chat before anybody else does.

Called by the supervisor while the engine starts. vLLM's ``/health`` is 200 on a server whose every
chat fails, as with a mistral-common that does not fit, so it only says when to begin asking.
"""

import asyncio
import logging
import re

from mistral_server.engine.client import EngineClient, EngineResponse, EngineUnreachableError
from mistral_server.errors import IncompatibleVersionsError, StartFailedError

MAX_REJECTIONS = 5
"""So many refusals in a row are the server's last word, not a hiccup of its start."""

_PAUSE_SECONDS = 1.0
_QUOTE = 1000

_GRAMMAR = re.compile(r"force_tool_names|get_lark_from_jinja")
_TENSOR_PARALLEL = re.compile(r"-tp(\d+)-")
"""In vllm-0.32.0-tp2-d0452779; a single rank is not named."""

_log = logging.getLogger(__name__)


async def wait_until_healthy(client: EngineClient) -> None:
    """Wait until the API process listens. The caller bounds the time."""
    while not await client.healthy():  # noqa: ASYNC110 - the other process has no event to wait for
        await asyncio.sleep(_PAUSE_SECONDS)


async def wait_for_first_chat(client: EngineClient) -> int | None:
    """Wait until a chat succeeds; return the ranks that its fingerprint names. Bound by the caller.

    Raises:
        IncompatibleVersionsError: the engine refuses for want of the right mistral-common.
        StartFailedError: the engine refuses for another reason.
    """
    rejections = 0
    while True:
        try:
            response = await client.chat()
        except EngineUnreachableError as error:
            _log.info("No answer to the test chat: %s", error)
        else:
            if response.status == 200 and response.json().get("choices"):
                return _ranks(response)
            rejections = rejections + 1 if 400 <= response.status < 500 else 0
            _log.warning(
                "The test chat was answered with %d: %.200s", response.status, response.text
            )
            if rejections >= MAX_REJECTIONS:
                raise _rejection(response)
        await asyncio.sleep(_PAUSE_SECONDS)


def _rejection(response: EngineResponse) -> StartFailedError | IncompatibleVersionsError:
    quote = response.text[:_QUOTE]
    if _GRAMMAR.search(response.text):
        return IncompatibleVersionsError(
            "vLLM and mistral-common are incompatible: every chat is rejected. "
            'Install "mistral-common>=1.11.6,<1.13" in the image.',
            evidence=quote,
        )
    return StartFailedError(
        f"The engine started but rejects every chat with HTTP {response.status}.", evidence=quote
    )


def _ranks(response: EngineResponse) -> int | None:
    fingerprint = response.json().get("system_fingerprint")
    if not isinstance(fingerprint, str) or not fingerprint.startswith("vllm-"):
        return None  # older than fingerprints
    match = _TENSOR_PARALLEL.search(fingerprint)
    return int(match.group(1)) if match else 1
