"""Tell a hung engine from a busy or an idle one.

vLLM's ``/health`` says that its processes exist, not that they compute; hung ones stayed 200 for
hours in the field. The rule that found them in two minutes and never struck wrongly: requests to
compute, and no counter of steps or tokens moves for ``stall_seconds``. An API process that does not
answer at all for that long is as good as hung, whatever it has to do.
"""

import time
from collections.abc import Callable

from mistral_server.engine.vllm_metrics import EngineMetrics


class HangDetector:
    """Watches the engine's counters."""

    def __init__(self, stall_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._counters: tuple[float, ...] | None = None
        self._alive_at = clock()
        self._reason = "the API process did not answer"

    def observe(self, metrics: EngineMetrics) -> None:
        """Take a look at the engine into account."""
        if not metrics.busy or metrics.progress != self._counters:
            self._alive_at = self._clock()
        self._counters = metrics.progress
        self._reason = f"no token was computed (running requests: {metrics.running})"

    def on_unreachable(self) -> None:
        """Take into account that the engine could not be looked at."""
        self._reason = "the API process did not answer"

    def stall_reason(self) -> str | None:
        """Return what is wrong if the engine hangs, else None."""
        stalled_seconds = self._clock() - self._alive_at
        if stalled_seconds < self._stall_seconds:
            return None
        return f"For {stalled_seconds:.0f} s {self._reason}."
