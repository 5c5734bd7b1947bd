"""Tell a KV cache that is too small for its load from one that is well used.

A full cache alone is good use. When it is full and requests are preempted, that is, lose their
place and are computed anew, more requests make the engine slower, not faster. Pressure lasts until
no request was preempted for a while, so that its waves count as one episode.
"""

import time
from collections.abc import Callable

from mistral_server.engine.vllm_metrics import EngineMetrics

FULL = 0.95
"""Used share of the cache from which on it counts as full: vLLM's own watermark leaves 1 % free,
and a look every few seconds misses the peak."""

QUIET_SECONDS = 60.0


class KVPressureDetector:
    """Watches the cache and the preemptions."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._preemptions: float | None = None
        self._until = 0.0
        self._full_at = float("-inf")
        self._episodes = 0

    @property
    def high(self) -> bool:
        """Requests were preempted from a full cache not long ago."""
        return self._clock() < self._until

    def observe(self, metrics: EngineMetrics) -> None:
        """Take a look at the engine into account."""
        now = self._clock()
        previous, self._preemptions = self._preemptions, metrics.preemptions
        if metrics.kv_cache_usage >= FULL:
            self._full_at = now
        if previous is None or metrics.preemptions <= previous:
            return
        if now - self._full_at > QUIET_SECONDS:
            return
        if not self.high:
            self._episodes += 1
        self._until = now + QUIET_SECONDS

    def take_episodes(self) -> int:
        """Return how many episodes began since the last call."""
        episodes, self._episodes = self._episodes, 0
        return episodes
