"""A work queue of keys: each key is processed by one worker at a time.

The semantics are those of client-go's rate-limited work queue, on asyncio. A key added while queued
is coalesced. One that is added while processed is queued again. A failed key is retried with
exponential back-off. Edits of users precede events of children by some seconds: the children of a
new fleet are created before the events of its first pods are processed, and a tenant who edits all
the time does not keep the children of others from being repaired.
"""

import asyncio
import enum
import itertools
import math
import random
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

K = TypeVar("K")

FIRST_DELAY = 1.0
"""Delay of the first retry of a key, in seconds."""
LONGEST_DELAY = 300.0
"""Maximum delay between retries of a key, in seconds."""
BURST_SECONDS = 0.5
"""Events of children come in bursts, as in a rollout. A key is processed once, this long after the
first event of a burst."""


class ReconcileOutcome(enum.Enum):
    """Result of reconciling a key."""

    SETTLED = "settled"
    """The current generation is reconciled, and no further pass is needed."""
    SOON = "soon"
    """Objects were written, so events follow: reconcile again after the burst."""
    RETRY = "retry"
    """Reconciling failed: retry with back-off."""


_CHILD_EVENT_SECONDS = 5.0
"""How long an event of a child lets later edits pass."""


class WorkQueue(Generic[K]):
    """A queue of keys with coalescing and back-off."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._ready: asyncio.PriorityQueue[tuple[float, int, K]] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._queued: dict[K, float] = {}
        """When each key is due, by the clock of the event loop: the order of processing."""
        self._processing: set[K] = set()
        self._dirty: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._retried: set[K] = set()
        self._jitter = jitter

    def __len__(self) -> int:
        """Return the number of keys that are ready to be processed."""
        return len(self._queued)

    @property
    def retrying(self) -> int:
        """Number of keys with a delayed retry."""
        return len(self._timers)

    @property
    def idle(self) -> bool:
        """No key is queued or processed."""
        return not self._queued and not self._processing

    def add(self, key: K) -> None:
        """Queue a key with priority: its resource was edited."""
        self._add(key, 0.0)

    def add_soon(self, key: K) -> None:
        """Queue a key after the current burst of events, or sooner if it is added."""
        if key not in self._queued:
            self._schedule(key, BURST_SECONDS, self._due)

    def add_after(self, key: K, seconds: float) -> None:
        """Queue a key after a delay, or sooner if it is added."""
        self._schedule(key, seconds, self._due)

    def retry_all(self) -> None:
        """Retry every failed key soon, after the cause of their failures was resolved."""
        for key in self._failures.keys() & self._timers.keys():
            self._failures[key] = 1
            self._schedule(key, FIRST_DELAY * self._jitter(), self._retry)

    async def work(self, handle: Callable[[K], Awaitable[ReconcileOutcome]]) -> None:
        """Process keys forever."""
        while True:
            due, _, key = await self._ready.get()
            if self._queued.get(key) != due:
                continue  # it became due earlier, and may be processed already
            del self._queued[key]
            self._processing.add(key)
            try:
                outcome = await handle(key)
            finally:
                self._processing.discard(key)
            self._finish(key, outcome)

    def _add(self, key: K, seconds: float) -> None:
        self._cancel_timer(key)
        due = asyncio.get_running_loop().time() + seconds
        if key in self._processing:
            self._dirty.add(key)
        elif due < self._queued.get(key, math.inf):
            self._queued[key] = due
            self._ready.put_nowait((due, next(self._numbers), key))

    def _finish(self, key: K, outcome: ReconcileOutcome) -> None:
        if outcome is not ReconcileOutcome.RETRY:
            self._failures.pop(key, None)
        elif key in self._retried or key not in self._failures:
            # Only retries increase the delay: a resource whose children change often must not wait
            # longer for that.
            self._failures[key] = self._failures.get(key, 0) + 1
        self._retried.discard(key)
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key)
        elif outcome is ReconcileOutcome.RETRY:
            self._retry_later(key)
        elif outcome is ReconcileOutcome.SOON:
            self.add_soon(key)

    def _retry_later(self, key: K) -> None:
        # Up to 50 % longer, so that a thousand keys that failed together are retried apart.
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(self._failures[key] - 1, 20))
        delay *= 1 + self._jitter() / 2
        self._schedule(key, delay, self._retry)

    def _schedule(self, key: K, delay: float, call: Callable[[K], None]) -> None:
        """Call in `delay` seconds, unless the key has an earlier timer: one timer per key."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is None or timer.when() > loop.time() + delay:
            self._cancel_timer(key)
            self._timers[key] = loop.call_later(delay, call, key)

    def _retry(self, key: K) -> None:
        self._retried.add(key)
        self._due(key)

    def _due(self, key: K) -> None:
        del self._timers[key]
        self._add(key, _CHILD_EVENT_SECONDS)

    def _cancel_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
