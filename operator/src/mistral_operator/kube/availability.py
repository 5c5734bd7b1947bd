"""Whether the API server answers, said once when it stops and once when it answers again."""

import logging
import time
from collections.abc import Callable

from mistral_operator.metrics import API_SERVER_REACHABLE

log = logging.getLogger(__name__)


class Availability:
    """What the last requests to the API server showed.

    Args:
        on_return: is called when the API server answers again after it did not.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        on_return: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_return = on_return
        self._clock = clock
        self._away_since: float | None = None
        self._last_answer: float | None = None

    @property
    def reachable(self) -> bool:
        """The API server has answered, and the last request was answered."""
        return self._last_answer is not None and self._away_since is None

    @property
    def seconds_since_answer(self) -> float | None:
        """Seconds since the last answer, None before the first."""
        return None if self._last_answer is None else self._clock() - self._last_answer

    @property
    def problem(self) -> str | None:
        """A sentence for probes, None while all is well."""
        if self._away_since is not None:
            away = self._clock() - self._away_since
            return f"the API server has not answered for {away:.0f} seconds"
        return None if self.reachable else "the API server has not been reached yet"

    def answered(self) -> None:
        """Take note of an answer, whatever it says."""
        since, now = self._away_since, self._clock()
        self._away_since, self._last_answer = None, now
        API_SERVER_REACHABLE.set(1)
        if since is not None:
            log.warning("the API server answers again after %.0f seconds", now - since)
            self.on_return()

    def failed(self, error: BaseException) -> None:
        """Take note of a request that got no answer."""
        if self._away_since is None:
            self._away_since = self._clock()
            log.warning("the API server does not answer (%s); waiting for it", _sentence(error))
        API_SERVER_REACHABLE.set(0)


def _sentence(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
