"""Find the line of the engine's output that shows why it failed.

The supervisor passes every line of ``output`` to `Evidence`. The root cause can be thousands of
lines before the end, followed by one exception for each process and each open request that it
affected. So the *first* exception of the engine's own processes is kept. Before the server is
ready, an exception of the API process counts as well: that is where a rejected configuration shows.
Once the server is ready, an exception counts for two minutes. The engine has survived older ones,
and no longer delay between cause and exit has been seen.
"""

import re
import time
from collections.abc import Callable

from mistral_server.engine_log.log_record import EVIDENCE_CHARACTERS, HARMLESS, RECORD

_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit)(?::|$)")
_WORKER_DIED = re.compile(r"Worker proc \S+ died unexpectedly")
_USAGE = re.compile(r"\S.*: error: ")
_LAUNCHER = re.compile(r"mistral-server: cannot run ")

_NO_CAUSE = re.compile(
    r"Engine core initialization failed"
    r"|WorkerProc initialization failed"
    r"|EngineDeadError|EngineCore encountered an issue"
    r"|SystemExit|KeyboardInterrupt|CancelledError"
)
"""Exceptions that only report a failure of another process or a requested stop."""

RECENT_SECONDS = 120.0
"""Seconds after which a serving engine has survived an exception."""


class Evidence:
    """The most relevant line so far."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._engine = ""
        self._engine_at = 0.0
        self._other = ""
        self._serving = False

    @property
    def line(self) -> str:
        """The line, or an empty string if none shows a cause."""
        return ("" if self._survived() else self._engine) or self._other

    def mark_serving(self) -> None:
        """Ignore exceptions of the API process from now on; they concern requests."""
        self._serving = True
        self._other = ""

    def read(self, line: str) -> None:
        """Read one line of output."""
        record = RECORD.match(line)
        if record is None or record["level"] in HARMLESS:
            return
        text = record["text"]
        process = record["process"] or "APIServer"
        from_engine = not process.lower().startswith(
            "apiserver"
        )  # ApiServer_0 if there are several
        exception = _EXCEPTION.match(text) and not _NO_CAUSE.search(text)
        if exception or _WORKER_DIED.match(text):
            if from_engine:
                if not self._engine or self._survived():
                    self._engine = text[:EVIDENCE_CHARACTERS]
                self._engine_at = self._clock()
            elif not self._serving:
                self._other = self._other or text[:EVIDENCE_CHARACTERS]
        elif _USAGE.match(text) or _LAUNCHER.match(text):
            self._other = self._other or text[:EVIDENCE_CHARACTERS]

    def _survived(self) -> bool:
        return self._serving and self._clock() - self._engine_at > RECENT_SECONDS
