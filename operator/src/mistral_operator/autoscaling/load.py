"""The productive load: which requests in flight count as demand for replicas."""

from dataclasses import dataclass

TYPICAL_TOKENS = 4096
"""Tokens of prompt and answer that a running chat is assumed to hold in the KV cache. The default
target needs an assumption, since the full context length would allow one or two requests."""

MAX_IN_FLIGHT = 256
"""A larger batch slows every token down and hardly increases the throughput."""

FULL_CACHE = 0.95
"""Usage above which the KV cache counts as full if requests wait. The engine reserves some blocks,
so 1 is never reached."""


@dataclass(frozen=True, slots=True)
class PodLoad:
    """The requests of one ready pod, as it reports them."""

    running: int = 0
    waiting: int = 0
    starved: int = 0
    """Requests that wait for space in the KV cache; a part of `waiting`."""
    looping: int = 0
    kv_cache_usage: float = 0.0

    @property
    def productive(self) -> int:
        """Running requests without looping ones."""
        return max(self.running - self.looping, 0)

    @property
    def under_pressure(self) -> bool:
        """Whether requests wait because the KV cache is full."""
        return self.starved > 0 and self.kv_cache_usage >= FULL_CACHE

    def demand(self, target: int) -> float:
        """Return productive requests, in units in which a full replica has `target`.

        An engine whose KV cache is full counts as full, even with few long requests: its running
        requests count as `target`, less the looping share. Every waiting request is added.
        """
        running = float(self.productive)
        if self.under_pressure and self.running:
            running = max(running, target * self.productive / self.running)
        return running + self.waiting


@dataclass(frozen=True, slots=True)
class LoadSample:
    """The load of an endpoint at one time."""

    reported: tuple[PodLoad, ...] = ()
    """Loads of the ready pods that reported recently."""
    unreported: int = 0
    """Number of ready pods without a recent report."""
    held: int = 0
    """Requests that are queued in the activator until a pod is ready."""
    active: bool = False
    """Whether a pod was busy recently, even if only between two polls."""

    @property
    def idle(self) -> bool:
        """Whether all ready pods report that they are idle, and were idle recently."""
        nothing = not (self.running or self.waiting or self.held)
        return bool(self.reported) and not self.unreported and nothing and not self.active

    @property
    def running(self) -> int:
        """Running requests."""
        return sum(pod.running for pod in self.reported)

    @property
    def waiting(self) -> int:
        """Waiting requests."""
        return sum(pod.waiting for pod in self.reported)

    @property
    def looping(self) -> int:
        """Running requests that loop. A pod does not sample both numbers at the same time."""
        return sum(min(pod.looping, pod.running) for pod in self.reported)

    @property
    def loop_share(self) -> float:
        """Share of the running requests that loop."""
        return self.looping / self.running if self.running else 0.0

    def demand(self, target: int) -> float:
        """Return the demand of all reported pods and of the queued requests."""
        return sum(pod.demand(target) for pod in self.reported) + self.held


def effective_target(
    configured: int | None, kv_cache_tokens: int | None, max_sequences: int | None
) -> int | None:
    """Return the target number of requests in flight per replica, None if not yet known."""
    if configured is not None:
        return configured
    if kv_cache_tokens is None:
        return None
    limit = max_sequences or MAX_IN_FLIGHT
    return max(1, min(kv_cache_tokens // TYPICAL_TOKENS, limit))


def polled_load(sample: LoadSample, target: int, current: int, *, frozen: bool) -> float | None:
    """Return the load for an autoscaler that divides it by the target, None if unknown.

    Unknown load must not change the number of replicas: pods without a report count as full, up to
    the capacity of the current replicas. Requests that started and finished between two polls count
    as one, so that the endpoint does not count as idle.
    """
    if not sample.reported:
        return _load_without_pods(sample, current)
    demand, capacity = max(sample.demand(target), float(sample.active)), float(target * current)
    if demand <= capacity:
        return min(demand + sample.unreported * target, capacity)
    return capacity if frozen else demand


def _load_without_pods(sample: LoadSample, current: int) -> float | None:
    """Return the load if no pod reports: the queued requests, None if unknown.

    If the endpoint is starting or its pods do not report, an empty queue says nothing about the
    load.
    """
    if sample.held and not sample.unreported:
        return float(sample.held)
    return None if current or sample.unreported else 0.0
