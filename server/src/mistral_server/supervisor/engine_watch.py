"""Poll a serving engine every few seconds for ``/livez`` and ``/signals``."""

import asyncio
import logging

from mistral_server.engine.client import EngineClient, EngineUnreachableError
from mistral_server.supervisor.hang_detector import HangDetector
from mistral_server.supervisor.state import ServerState

INTERVAL_SECONDS = 5.0
"""Rendering ``/metrics`` costs vLLM's API process some milliseconds of its event loop."""

_POLLS_PER_STALL = 4  # with fewer, one failed poll could look like a stall

_log = logging.getLogger(__name__)


async def poll_engine(
    client: EngineClient, state: ServerState, hang_detector: HangDetector
) -> None:
    """Poll until cancelled."""
    interval = min(INTERVAL_SECONDS, state.settings.lifecycle.stall_seconds / _POLLS_PER_STALL)
    while True:
        try:
            metrics = await client.metrics()
        except EngineUnreachableError as error:
            _log.warning("Cannot read the engine's metrics: %s", error)
            hang_detector.on_unreachable()
        else:
            hang_detector.observe(metrics)
            state.observe(metrics)
        await asyncio.sleep(interval)
