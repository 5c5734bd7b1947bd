"""The fence that every write passes: it blocks writes when the Lease may have expired."""

import math
import time
from collections.abc import Callable

from mistral_operator.kube.errors import Fenced


def uptime() -> float:
    """Return the seconds of a monotonic clock.

    CLOCK_BOOTTIME includes the time in which the machine was suspended, CLOCK_MONOTONIC does not.
    Both include the time in which the process was stopped.
    """
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Fence:
    """Whether this process may write. Always open without leader election.

    The fence closes at a point in time, so it is closed when a stopped process continues, before
    any of its timers fires.
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

    def seconds_for(self, request: str) -> float:
        """Return how long a write may take, which is more than 0 seconds.

        Raises:
            Fenced: the Lease may have expired, so another replica may be writing.
        """
        seconds = self.seconds_left
        if not seconds:
            raise Fenced(0, "the Lease was not renewed in time; nothing is written", request)
        return seconds
