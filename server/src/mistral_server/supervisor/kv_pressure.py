"""Detect a KV cache that is too small for its load.

A full cache alone is efficient. If requests are also preempted, that is, evicted and recomputed,
more requests make the engine slower. An episode of pressure lasts until no request was preempted
for `QUIET_SECONDS`, so that repeated waves count once.
"""

import time
from collections.abc import Callable

from mistral_server.engine.vllm_metrics import EngineMetrics

FULL = 0.95
"""Used share at which the cache counts as full. vLLM's own watermark leaves 1 % free, and polling
every few seconds misses the peak."""

QUIET_SECONDS = 60.0


class KVPressureDetector:
    """Detects preemptions from a full cache."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._preemptions: float | None = None
        self._until = 0.0
        self._full_at = float("-inf")
        self._episodes = 0

    @property
    def high(self) -> bool:
        """Whether requests were recently preempted from a full cache."""
        return self._clock() < self._until

    def observe(self, metrics: EngineMetrics) -> None:
        """Record one sample of the engine's metrics."""
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
        """Return the number of episodes that began since the last call."""
        episodes, self._episodes = self._episodes, 0
        return episodes
