"""An event loop whose clock jumps to the next timer: hours of back-off pass in no time."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class JumpingLoop(asyncio.SelectorEventLoop):
    """Advances its own clock instead of waiting; there is no real input and output."""

    _now = 0.0
    _ready: list[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def time(self) -> float:
        """Return the seconds that have passed."""
        return self._now

    def _run_once(self) -> None:
        if not self._ready:
            # The first may be cancelled: jumping there would leave a real wait until the next.
            due = (timer.when() for timer in self._scheduled if not timer.cancelled())
            self._now = max(self._now, min(due, default=self._now))
        super()._run_once()  # type: ignore[misc]  # private, and the one place where a loop waits


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop of its own, starting at second 0."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(coroutine)
