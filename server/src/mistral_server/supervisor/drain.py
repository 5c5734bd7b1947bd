"""Wait until the engine is idle before it is terminated.

The supervisor calls this on SIGTERM. vLLM's own drain works with one API process. With several,
0.32 cuts every stream at once: the API processes close their link to the engine, then wait for
connections on which nothing can arrive. So the engine receives SIGTERM only when it is idle or when
the timeout has expired.
"""

import asyncio
import logging
import time
from pathlib import Path

from mistral_server.engine.client import EngineClient, EngineUnreachableError

IDLE_POLLS = 2
"""Consecutive idle polls. A request is not counted while the API process still prepares it."""

KEPT_SECONDS = 5.5
"""Time without a request after the last one, if there was any: uvicorn keeps an idle connection for
5 s (VLLM_HTTP_TIMEOUT_KEEP_ALIVE). Until then a client may use the connection of a response that
began before the drain, and whose headers therefore do not close it."""

_PAUSE_SECONDS = 0.5

_log = logging.getLogger(__name__)


def announce(file: Path) -> None:
    """Create the file by which the gate knows that the server drains."""
    try:
        file.touch()
    except OSError as error:
        # Then clients that keep their connection stay until the drain times out.
        _log.warning("Cannot announce the drain to the gate: %s", error)


async def wait_until_idle(
    client: EngineClient, least_seconds: float, *, kept_seconds: float = KEPT_SECONDS
) -> None:
    """Return when no request is left or the engine is unreachable. The caller sets the timeout.

    Args:
        client: of the engine.
        least_seconds: time in which requests may still arrive.
        kept_seconds: time without a request, if there was any.
    """
    started = time.monotonic()
    idle, progress, ends = 0, None, started + least_seconds
    while True:
        try:
            metrics = await client.metrics()
        except EngineUnreachableError as error:
            _log.warning("Cannot query the engine's running requests: %s", error)
            return
        # The counters show requests that came and went between two polls.
        busy = bool(metrics.running or metrics.waiting) or progress not in (None, metrics.progress)
        idle, progress = 0 if busy else idle + 1, metrics.progress
        now = time.monotonic()
        if busy:
            ends = max(ends, now + kept_seconds)
        if idle >= IDLE_POLLS and now >= ends:
            return
        await asyncio.sleep(_PAUSE_SECONDS)
