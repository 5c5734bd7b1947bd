"""Availability of the API server, logged once when it becomes unavailable and once on recovery."""

import logging
import time
from collections.abc import Callable

from mistral_operator.metrics import API_SERVER_REACHABLE

log = logging.getLogger(__name__)


class Availability:
    """Availability of the API server, from the last requests.

    Args:
        on_recovery: called when the API server responds again after an outage.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        on_recovery: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_recovery = on_recovery
        self._clock = clock
        self._unavailable_since: float | None = None
        self._last_response: float | None = None

    @property
    def reachable(self) -> bool:
        """The API server responded to the last request."""
        return self._last_response is not None and self._unavailable_since is None

    @property
    def seconds_since_response(self) -> float | None:
        """Seconds since the last response, None before the first."""
        return None if self._last_response is None else self._clock() - self._last_response

    @property
    def problem(self) -> str | None:
        """Message for probes, None while the API server responds."""
        if self._unavailable_since is not None:
            seconds = self._clock() - self._unavailable_since
            return f"the API server has not answered for {seconds:.0f} seconds"
        return None if self.reachable else "the API server has not been reached yet"

    def record_response(self) -> None:
        """Record a response of any status."""
        since, now = self._unavailable_since, self._clock()
        self._unavailable_since, self._last_response = None, now
        API_SERVER_REACHABLE.set(1)
        if since is not None:
            log.warning("the API server answers again after %.0f seconds", now - since)
            self.on_recovery()

    def record_failure(self, error: BaseException) -> None:
        """Record a request without a response."""
        if self._unavailable_since is None:
            self._unavailable_since = self._clock()
            log.warning("the API server does not answer (%s); waiting for it", _message(error))
        API_SERVER_REACHABLE.set(0)


def _message(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
