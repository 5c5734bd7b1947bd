"""A queue of keys: each is worked on once at a time, and what comes meanwhile is not lost.

The semantics are those of client-go's rate-limited work queue, on asyncio: a key that is added
while it waits is the same key; one that is added while it is worked on is worked on once more; a
failed key comes back later and later. What somebody asked for goes before what follows from it: a
fleet that is created gets all its children before the first pod's news is looked at.
"""

import asyncio
import enum
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

K = TypeVar("K")

FIRST_DELAY = 1.0
"""Seconds before the first retry of a key."""
LONGEST_DELAY = 300.0
"""Seconds between retries of a key that keeps failing."""
BURST_SECONDS = 0.5
"""What follows from an edit comes in bursts, as in a rollout; each is looked at once this long
after its beginning."""


class Outcome(enum.Enum):
    """What became of a key that was worked on."""

    SETTLED = "settled"
    """The last observed generation was reconciled to the end, and another pass is not needed."""
    SOON = "soon"
    """Something was written whose consequences are about to show: look when the burst is over."""
    RETRY = "retry"
    """Something stood in the way: look again later, and later each time."""


class _Lane(enum.IntEnum):
    ASKED = 0
    FOLLOWS = 1


class WorkQueue(Generic[K]):
    """Keys to work on, with coalescing and back-off."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._ready: asyncio.PriorityQueue[tuple[_Lane, int, K]] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._waiting: dict[K, _Lane] = {}
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._retried: set[K] = set()
        self._jitter = jitter

    def __len__(self) -> int:
        """Return how many keys wait to be worked on now."""
        return len(self._waiting)

    @property
    def retrying(self) -> int:
        """How many keys wait for a later time."""
        return len(self._timers)

    @property
    def idle(self) -> bool:
        """Nothing waits, nothing is worked on."""
        return not self._waiting and not self._working

    def add(self, key: K) -> None:
        """Work on a key as soon as possible: somebody asked for something."""
        self._add(key, _Lane.ASKED)

    def add_soon(self, key: K) -> None:
        """Work on a key when the burst that begins now is over, or sooner if it is added."""
        if key not in self._waiting:
            self._schedule(key, BURST_SECONDS, self._due)

    def add_after(self, key: K, seconds: float) -> None:
        """Work on a key after a time, or sooner if it is added before."""
        self._schedule(key, seconds, self._due)

    def retry_all(self) -> None:
        """Retry every failed key within moments: what stood in the way of all of them is gone."""
        for key in self._failures.keys() & self._timers.keys():
            self._failures[key] = 1
            self._schedule(key, FIRST_DELAY * self._jitter(), self._retry)

    async def work(self, handle: Callable[[K], Awaitable[Outcome]]) -> None:
        """Take keys for ever."""
        while True:
            lane, _, key = await self._ready.get()
            if self._waiting.get(key) is not lane:
                continue  # it moved to the other lane, and may be done already
            del self._waiting[key]
            self._working.add(key)
            try:
                outcome = await handle(key)
            finally:
                self._working.discard(key)
            self._after(key, outcome)

    def _add(self, key: K, lane: _Lane) -> None:
        self._cancel_timer(key)
        waiting = self._waiting.get(key)
        if key in self._working:
            self._again.add(key)
        elif waiting is None or lane < waiting:
            self._waiting[key] = lane
            self._ready.put_nowait((lane, next(self._numbers), key))

    def _after(self, key: K, outcome: Outcome) -> None:
        if outcome is not Outcome.RETRY:
            self._failures.pop(key, None)
        elif key in self._retried or key not in self._failures:
            # Only retries make the next one later: events come in numbers, and a resource whose
            # children move a lot must not wait longer for that.
            self._failures[key] = self._failures.get(key, 0) + 1
        self._retried.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        elif outcome is Outcome.RETRY:
            self._later(key)
        elif outcome is Outcome.SOON:
            self.add_soon(key)

    def _later(self, key: K) -> None:
        # Full delay up to 50 % more, so that a thousand keys that failed together come back apart.
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(self._failures[key] - 1, 20))
        delay *= 1 + self._jitter() / 2
        self._schedule(key, delay, self._retry)

    def _schedule(self, key: K, delay: float, call: Callable[[K], None]) -> None:
        """Call in `delay` seconds, unless the key has an earlier time already: one timer a key."""
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
        self._add(key, _Lane.FOLLOWS)

    def _cancel_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
