"""Warnings that clients can cause: at most one a minute for each endpoint and cause."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

_INTERVAL_SECONDS = 60.0
_MAX_KEYS = 10_000


class QuietLog:
    """Logs the first warning of each key, and then one per interval with the number left out."""

    def __init__(
        self,
        log: logging.Logger,
        interval: float = _INTERVAL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._interval = interval
        self._clock = clock
        self._seen: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()
        """Time of the last warning of each key, and the number of those left out since."""

    def warning(self, key: Hashable, message: str) -> None:
        """Log a warning, unless one of the same key was logged within the interval."""
        now = self._clock()
        logged_at, left_out = self._seen.get(key, (float("-inf"), 0))
        if now - logged_at < self._interval:
            self._seen[key] = logged_at, left_out + 1
            return
        more = f" ({left_out} more since the last warning)" if left_out else ""
        self._log.warning("%s%s", message, more)
        self._seen[key] = now, 0
        self._seen.move_to_end(key)
        if len(self._seen) > _MAX_KEYS:
            self._seen.popitem(last=False)
