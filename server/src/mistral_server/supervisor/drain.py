"""Wait until the engine is idle before it is terminated.

The supervisor calls this on SIGTERM. vLLM's own drain works with one API process. With several,
0.32 cuts every stream at once: the API processes close their link to the engine, then wait for
connections on which nothing can arrive. So the engine receives SIGTERM only when it is idle or when
the timeout has expired.
"""

import asyncio
import logging
from pathlib import Path

from mistral_server.engine.client import EngineClient, EngineUnreachableError

IDLE_POLLS = 2
"""Consecutive idle polls. A request is not counted while the API process still prepares it."""

_PAUSE_SECONDS = 0.5

_log = logging.getLogger(__name__)


def announce(file: Path) -> None:
    """Create the file by which the gate knows that the server drains."""
    try:
        file.touch()
    except OSError as error:
        # Then clients that keep their connection stay until the drain times out.
        _log.warning("Cannot announce the drain to the gate: %s", error)


async def wait_until_idle(client: EngineClient) -> None:
    """Return when no request is left or the engine is unreachable. The caller sets the timeout."""
    idle = 0
    while idle < IDLE_POLLS:
        try:
            metrics = await client.metrics()
        except EngineUnreachableError as error:
            _log.warning("Cannot query the engine's running requests: %s", error)
            return
        idle = 0 if metrics.running or metrics.waiting else idle + 1
        if idle < IDLE_POLLS:
            await asyncio.sleep(_PAUSE_SECONDS)
