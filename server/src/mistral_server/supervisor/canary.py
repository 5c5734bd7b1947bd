"""Send the engine one real chat before the pod becomes ready.

The supervisor calls this while the engine starts. vLLM's ``/health`` returns 200 even if every chat
fails, for example with an incompatible mistral-common, so it only shows when to send the first one.
"""

import asyncio
import logging
import re

from mistral_server.engine.client import EngineClient, EngineResponse, EngineUnreachableError
from mistral_server.errors import IncompatibleVersionsError, StartFailedError

MAX_REJECTIONS = 5
"""Consecutive rejections after which the start has failed; fewer can be transient."""

_PAUSE_SECONDS = 1.0
_QUOTE = 1000

_GRAMMAR = re.compile(r"force_tool_names|get_lark_from_jinja")
_TENSOR_PARALLEL = re.compile(r"-tp(\d+)-")
"""Matches vllm-0.32.0-tp2-d0452779. A single rank has no such part."""

_log = logging.getLogger(__name__)


async def wait_until_healthy(client: EngineClient) -> None:
    """Wait until the API process listens. The caller sets the timeout."""
    while not await client.healthy():  # noqa: ASYNC110 - the other process has no event to wait for
        await asyncio.sleep(_PAUSE_SECONDS)


async def wait_for_first_chat(client: EngineClient) -> int | None:
    """Wait until a chat succeeds and return the ranks in its fingerprint.

    The caller sets the timeout.

    Raises:
        IncompatibleVersionsError: mistral-common does not match the engine.
        StartFailedError: the engine rejects the chat for another reason.
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
