"""What a starting engine is doing, told from its log.

The supervisor owns one ``Stages``; the output thread moves it on through ``read``. vLLM has no
interface for this: ``/health`` is refused until everything is done, so a pod that loads for ten
minutes and one that hangs look the same from outside.
"""

import re
import threading
import time
from collections.abc import Callable

from mistral_server.contract import Stage

MARKS: tuple[tuple[Stage, re.Pattern[str]], ...] = (
    # "Loading model from scratch..." is the V2 model runner, "Starting to load model" V1 and CPU.
    (Stage.LOADING, re.compile(r"\] (?:Loading model from scratch|Starting to load model )")),
    # The CPU runner does not say that it loaded; there the next mark follows at once.
    (Stage.PROFILING, re.compile(r"\] (?:Model loading took |Initializing model took )")),
    (Stage.WARMING_UP, re.compile(r"\] [CG]PU KV cache size: ")),
)
"""The line of the log with which each stage begins (0.26 on a GPU, 0.32 on a CPU)."""

_ORDER = tuple(Stage)


class Stages:
    """The current stage and how long each one took. Safe to use from several threads.

    A stage is never left backwards: ranks log the same line at different times.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._current = Stage.STARTING
        self._since = clock()
        self._seconds: dict[Stage, float] = {}

    @property
    def current(self) -> Stage:
        """The stage."""
        return self._current

    def seconds(self) -> float:
        """Return how long the current stage has lasted."""
        return self._clock() - self._since

    def durations(self) -> dict[Stage, float]:
        """Return the seconds of each stage that is over."""
        with self._lock:
            return dict(self._seconds)

    def enter(self, stage: Stage) -> None:
        """Move on to `stage`, unless it is the current one or lies behind."""
        with self._lock:
            if _ORDER.index(stage) <= _ORDER.index(self._current):
                return
            now = self._clock()
            self._seconds[self._current] = now - self._since
            self._current, self._since = stage, now

    def read(self, line: str) -> None:
        """Move on if a line of the engine's log says so."""
        for stage, mark in MARKS:
            if mark.search(line):
                self.enter(stage)
