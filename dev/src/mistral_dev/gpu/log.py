"""Follow the output of a server, with the time of each line and of the first cause of a failure."""

import re
import threading
import time
from pathlib import Path

from mistral_server.engine_log.classify import Classification, Classifier


class Log:
    """Follows one file until `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cause_at: float | None = None
        """Time of the first line that shows a failure."""
        self._lines: list[tuple[float, str]] = []
        self._classifier = Classifier()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Read the rest, and stop."""
        self._closed.set()
        self._thread.join(10)

    @property
    def classification(self) -> Classification | None:
        """The classification of the engine's failure."""
        return self._classifier.classification()

    def find(self, pattern: str) -> re.Match[str] | None:
        """Return the last match in any line so far."""
        matches = [match for _, line in list(self._lines) if (match := re.search(pattern, line))]
        return matches[-1] if matches else None

    def number(self, pattern: str) -> float | None:
        """Return the number in the first group of the last match."""
        match = self.find(pattern)
        return float(match[1].replace(",", "")) if match else None

    def tail(self, lines: int) -> str:
        """Return the last lines."""
        return "\n".join(line for _, line in self._lines[-lines:])

    def _follow(self) -> None:
        rest = b""
        with self.path.open("rb") as file:
            while True:
                closing = self._closed.is_set()
                rest += file.read()
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    self._take(line.decode(errors="replace"))
                if closing:
                    return
                self._closed.wait(0.02)

    def _take(self, line: str) -> None:
        now = time.monotonic()
        self._lines.append((now, line))
        self._classifier.read(line)
        if self.cause_at is None and self._classifier.classification() is not None:
            self.cause_at = now
