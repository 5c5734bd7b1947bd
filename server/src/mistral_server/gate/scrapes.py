"""The engine's `/metrics`, rendered at most once a second however often it is scraped.

Rendering reads the files of all API processes and takes milliseconds of this one, and the path
needs no API key: without a bound, a few clients in a loop would take the time of all others.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from mistral_server.gate.asgi import Application, Message, Scope, Send, fetch
from mistral_server.gate.error_responses import Refusal, unsupported_method

METRICS_PATH = "/metrics"

MAX_AGE_SECONDS = 1.0
"""Age of the oldest rendering that is sent. Prometheus scrapes every 15 to 60 seconds. Between two
scrapes within this time, which two API processes answer, a counter may go back."""


def scrape_refusal(scope: Scope) -> Refusal | None:
    """Return the response to what is not a scrape: vLLM renders its metrics for any method."""
    if scope["path"] != METRICS_PATH or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
        return None
    return unsupported_method(scope["method"], METRICS_PATH, "GET")


class Scrapes:
    """Responds to scrapes.

    Args:
        app: the application behind the gate.
        clock: the time in seconds; only goes forward.
    """

    def __init__(self, app: Application, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._rendering = asyncio.Lock()
        self._rendered: Sequence[Message] = ()
        self._fresh_until = float("-inf")

    async def respond(self, scope: Scope, send: Send) -> None:
        """Respond to a request for the metrics.

        What it accepts is ignored, as vLLM does: every response is the same plain text.
        """
        for message in await self._current(scope):
            await send(message)

    async def _current(self, scope: Scope) -> Sequence[Message]:
        async with self._rendering:
            if self._clock() >= self._fresh_until:
                self._rendered = await fetch(self._app, scope, METRICS_PATH)
                self._fresh_until = self._clock() + MAX_AGE_SECONDS
            return self._rendered
