"""Pace the responses to rejected requests, so that those who are served do not wait for them.

Reading a request that is then rejected takes about a millisecond of the event loop that every
stream shares, and most clients send the next request when they have the response to the last one.
"""

from collections.abc import Callable

BURST_SECONDS = 2.0
"""What may be sent at once, as a time at the full rate: a client that has just been deployed may
make its mistakes at once."""
MAX_SECONDS = 10.0
"""Longest delay, well within the timeouts of clients and proxies."""


class Pace:
    """Computes how long the next response is delayed. The rule is GCRA's (ITU-T I.371).

    Args:
        per_second: responses per second that are not delayed.
        clock: returns the time in seconds.
    """

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        self._interval = 1 / per_second
        self._clock = clock
        self._due = 0.0
        """When the last response was due if all had kept the rate."""

    def delay(self) -> float:
        """Count a response; return for how many seconds it is delayed."""
        now = self._clock()
        due = max(self._due, now) + self._interval
        # What is beyond the longest delay is not remembered, so that it delays no later response.
        self._due = min(due, now + BURST_SECONDS + MAX_SECONDS)
        return max(0.0, self._due - BURST_SECONDS - now)
