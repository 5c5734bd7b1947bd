"""How much of a model is fetched, for the log and for the operator."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

LOG_SECONDS = 10.0
"""Interval between progress lines in the pod's log. The client's own bars are for terminals."""

_MEASURE_SECONDS = 2.0
"""Interval between measurements; the operator polls starting pods about as often."""

_log = logging.getLogger(__name__)


class Progress:
    """Bytes of a model that are in its directory.

    Args:
        directory: receives the files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._size = 0
        self.total: int | None = None
        """Size of all files in bytes, None while it is not known."""

    @property
    def fetched(self) -> int:
        """Bytes that are fetched, at most the total."""
        return self._size if self.total is None else min(self._size, self.total)

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Measure and log the size of the directory periodically while the block runs."""
        done = threading.Event()
        thread = threading.Thread(target=self._measure, args=(done,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _measure(self, done: threading.Event) -> None:
        logged = time.monotonic()
        while not done.wait(_MEASURE_SECONDS):
            self._size = _size(self._directory)
            if time.monotonic() - logged >= LOG_SECONDS:
                logged = time.monotonic()
                _log.info("Fetched %s so far", self)

    def __str__(self) -> str:
        """Return the progress as text, such as 31.0 of 48.0 GB."""
        of = "" if self.total is None else f" of {self.total / 1e9:.1f}"
        return f"{self.fetched / 1e9:.1f}{of} GB"


def _size(directory: Path) -> int:
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):  # renamed when it was complete
                # Files are allocated in advance.
                total += Path(root, name).stat().st_blocks * 512
    return total
