"""What of the requests in flight is demand for more replicas."""

from dataclasses import dataclass

TYPICAL_TOKENS = 4096
"""Tokens of prompt and answer that a chat holds in the KV cache while it runs: the default target
has to assume something, since the whole context length would allow one or two requests."""

MOST_IN_FLIGHT = 256
"""A batch of more makes every token slower and hardly raises the throughput."""

FULL_CACHE = 0.95
"""Share of the KV cache from which on an engine that lets requests wait has no room for them. It
keeps some blocks back, so 1 is never reached."""


@dataclass(frozen=True, slots=True)
class PodLoad:
    """What one ready pod said of its requests."""

    running: int = 0
    waiting: int = 0
    starved: int = 0
    """Requests that wait for room in the engine; a part of `waiting`."""
    looping: int = 0
    kv_cache_usage: float = 0.0

    @property
    def productive(self) -> int:
        """Running requests whose answers somebody may want."""
        return max(self.running - self.looping, 0)

    @property
    def under_pressure(self) -> bool:
        """Requests wait because the KV cache is full."""
        return self.starved > 0 and self.kv_cache_usage >= FULL_CACHE

    def demand(self, target: int) -> float:
        """Return productive requests, in units in which a full replica has `target`.

        An engine whose cache is full is full, however few long requests it took: what it runs
        counts as `target`, less the share that loops, and every waiting request comes on top.
        """
        running = float(self.productive)
        if self.under_pressure and self.running:
            running = max(running, target * self.productive / self.running)
        return running + self.waiting


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the pods of an endpoint."""

    heard: tuple[PodLoad, ...] = ()
    """What the ready pods said that answered lately."""
    silent: int = 0
    """Ready pods that did not."""
    held: int = 0
    """Requests that wait in the activator for a pod to become ready."""
    active: bool = False
    """A pod computed something lately, if only between two looks."""

    @property
    def idle(self) -> bool:
        """All ready pods say that they have nothing to do, and had nothing to do lately."""
        nothing = not (self.running or self.waiting or self.held)
        return bool(self.heard) and not self.silent and nothing and not self.active

    @property
    def running(self) -> int:
        """Running requests."""
        return sum(pod.running for pod in self.heard)

    @property
    def waiting(self) -> int:
        """Waiting requests."""
        return sum(pod.waiting for pod in self.heard)

    @property
    def looping(self) -> int:
        """Running requests that loop; a pod's two numbers are not of the same moment."""
        return sum(min(pod.looping, pod.running) for pod in self.heard)

    @property
    def loop_share(self) -> float:
        """Share of the running requests that loop."""
        return self.looping / self.running if self.running else 0.0

    def demand(self, target: int) -> float:
        """Return the demand of all pods that were heard, and of what waits for one."""
        return sum(pod.demand(target) for pod in self.heard) + self.held


def target_of(
    asked: int | None, kv_cache_tokens: int | None, max_sequences: int | None
) -> int | None:
    """Return the requests in flight that a replica should have, None if nobody can tell yet."""
    if asked is not None:
        return asked
    if kv_cache_tokens is None:
        return None
    most = max_sequences or MOST_IN_FLIGHT
    return max(1, min(kv_cache_tokens // TYPICAL_TOKENS, most))


def polled_load(look: Look, target: int, current: int, *, frozen: bool) -> float | None:
    """Return the load for an autoscaler that divides it by the target, None if nothing is known.

    What is not known must not move it: silent pods count as full, but not beyond what runs now.
    Requests that came and went between two looks count as one, so that their endpoint is not taken
    for idle.
    """
    if not look.heard:
        return _load_without_pods(look, current)
    known, full = max(look.demand(target), float(look.active)), float(target * current)
    if known <= full:
        return min(known + look.silent * target, full)
    return full if frozen else known


def _load_without_pods(look: Look, current: int) -> float | None:
    """Return the load where no pod says anything: all of it waits in the activator, if it is known.

    Of an endpoint that starts, or whose pods are silent, an empty activator tells nothing.
    """
    if look.held and not look.silent:
        return float(look.held)
    return None if current or look.silent else 0.0
