"""The fence that every write passes: without a Lease that is certainly ours, nothing is changed."""

import math
import time
from collections.abc import Callable

from mistral_operator.kube.errors import Fenced


def uptime() -> float:
    """Return seconds of a clock that nobody sets.

    CLOCK_BOOTTIME also counts the time in which a machine was suspended, CLOCK_MONOTONIC does not.
    Both count the time in which a process was stopped.
    """
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Fence:
    """Whether this process may write. Open until somebody sets an end, as without leader election.

    The end is a point in time, so a process that was stopped for a minute finds the fence closed
    before any of its timers has fired.
    """

    def __init__(self, clock: Callable[[], float] = uptime) -> None:
        self._clock = clock
        self._end = math.inf

    @property
    def seconds_left(self) -> float:
        """Seconds until the fence closes; 0 while it is closed."""
        return max(0.0, self._end - self._clock())

    def open_until(self, end: float) -> None:
        """Open the fence until a point in time of its clock."""
        self._end = end

    def close(self) -> None:
        """Close the fence until it is opened again."""
        self._end = -math.inf

    def check(self, request: str) -> None:
        """Let a write pass, or refuse it.

        Raises:
            Fenced: the Lease may have expired, so another replica may be writing.
        """
        if self._end <= self._clock():
            raise Fenced(0, "the Lease was not renewed in time; nothing is written", request)
