"""CPU time and memory of a process over time, sampled by a thread of the benchmark."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

PERIOD = 2.0


@dataclass
class UsageSamples:
    """The samples of one process."""

    rows: list[tuple[float, float, float]] = field(default_factory=list)
    """Seconds since the beginning, CPU seconds since then, and MiB."""


@contextmanager
def sampled(process: psutil.Process) -> Iterator[UsageSamples]:
    """Sample a process until the block ends."""
    samples, ended = UsageSamples(), threading.Event()
    started, before = time.monotonic(), sum(process.cpu_times()[:2])

    def sample() -> None:
        while not ended.wait(PERIOD):
            used = sum(process.cpu_times()[:2]) - before
            memory = process.memory_info().rss / 2**20
            samples.rows.append((time.monotonic() - started, used, memory))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()
