"""Wait until the engine has nothing to do, before anybody tells it to end.

Called by the supervisor when a stop was asked for. vLLM has a drain of its own, and with one API
process it works; with several, 0.32 cuts every stream at once: its API processes close their link
to the engine and then wait for connections on which nothing can arrive any more. So the engine is
only told to end when it is idle, or when the time is up.
"""

import asyncio
import logging

from mistral_server.engine.client import EngineClient, EngineUnreachableError

IDLE_POLLS = 2
"""In a row: a request is not counted while the API process still prepares it."""

_PAUSE_SECONDS = 0.5

_log = logging.getLogger(__name__)


async def wait_until_idle(client: EngineClient) -> None:
    """Return when no request is left, or when nobody can tell. The caller bounds the time."""
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
