"""An event loop whose clock jumps to the next timer: hours of back-off pass in no time."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class JumpingLoop(asyncio.SelectorEventLoop):
    """Advances its own clock instead of waiting; real input and output still work."""

    _now = 0.0
    _under_way = 0
    _ready: list[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def time(self) -> float:
        """Return the seconds that have passed."""
        return self._now

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let no time pass while a request is under way, whose answer takes real time."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    def _run_once(self) -> None:
        if not self._ready and not self._under_way:
            # The first may be cancelled: jumping there would leave a real wait until the next.
            due = (timer.when() for timer in self._scheduled if not timer.cancelled())
            self._now = max(self._now, min(due, default=self._now))
        super()._run_once()  # type: ignore[misc]  # private, and the one place where a loop waits


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop of its own, starting at second 0."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(coroutine)
