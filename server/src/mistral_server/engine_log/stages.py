"""Determine the stage of a starting engine from its log.

The supervisor owns one ``Stages``; the output thread calls ``read``. vLLM has no interface for
this: its port is closed until the start is complete, so a pod that loads for ten minutes looks like
one that hangs.
"""

import re
import threading
import time
from collections.abc import Callable

from mistral_server.contract import Stage

MARKS: tuple[tuple[Stage, re.Pattern[str]], ...] = (
    # "Loading model from scratch..." is the V2 model runner, "Starting to load model" V1 and CPU.
    (Stage.LOADING, re.compile(r"\] (?:Loading model from scratch|Starting to load model )")),
    # Of weights from a file, the loader logs the first line, and the runner of GPUs the second one
    # after 2 s. "Initializing model took" comes before the weights are read.
    (Stage.PROFILING, re.compile(r"\] (?:Loading weights took |Model loading took )")),
    (Stage.WARMING_UP, re.compile(r"\] [CG]PU KV cache size: ")),
)
"""Pattern of the log line at which each stage begins (0.26 and 0.32 on a GPU, 0.32 on a CPU)."""

_ORDER = tuple(Stage)


class Stages:
    """The current stage and the duration of each one. Thread-safe.

    Stages only move forward: ranks log the same line at different times.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._current = Stage.STARTING
        self._since = clock()
        self._seconds: dict[Stage, float] = {}

    @property
    def current(self) -> Stage:
        """The current stage."""
        return self._current

    def seconds(self) -> float:
        """Return the duration of the current stage in seconds."""
        return self._clock() - self._since

    def durations(self) -> dict[Stage, float]:
        """Return the seconds of each finished stage."""
        with self._lock:
            return dict(self._seconds)

    def enter(self, stage: Stage) -> None:
        """Enter `stage`, unless it is the current or an earlier one."""
        with self._lock:
            if _ORDER.index(stage) <= _ORDER.index(self._current):
                return
            now = self._clock()
            self._seconds[self._current] = now - self._since
            self._current, self._since = stage, now

    def read(self, line: str) -> None:
        """Enter the stage that a line of the engine's log marks."""
        for stage, mark in MARKS:
            if mark.search(line):
                self.enter(stage)
