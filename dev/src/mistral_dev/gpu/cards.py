"""Query the GPUs through nvidia-smi. Changes no setting."""

import subprocess
import time
from dataclasses import dataclass

SETTLED_MIB = 1500
"""Memory below which a GPU counts as free: a few hundred MiB if unused, at least 30 GiB with an
engine."""


@dataclass(frozen=True)
class Card:
    """One GPU."""

    index: int
    name: str
    memory_mib: int
    driver: str


def cards() -> list[Card]:
    """Return the GPUs of this machine, or none without a driver."""
    result = []
    for row in _query("index,name,memory.total,driver_version"):
        index, name, memory, driver = row.split(", ")
        result.append(Card(int(index), name, int(memory), driver))
    return result


def used_mib(gpus: tuple[int, ...]) -> int:
    """Return the memory in use on the fullest of these GPUs, or 0 if it is unavailable."""
    rows = [row.split(", ") for row in _query("index,memory.used")]
    return max((int(used) for index, used in rows if int(index) in gpus), default=0)


def wait_until_free(gpus: tuple[int, ...], seconds: float) -> tuple[float, int]:
    """Wait until the GPUs are free; return how long that took and what was in use at the end."""
    started = time.monotonic()
    while (used := used_mib(gpus)) > SETTLED_MIB and time.monotonic() - started < seconds:
        time.sleep(0.1)
    return round(time.monotonic() - started, 2), used


def _query(fields: str) -> list[str]:
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line for line in done.stdout.splitlines() if line.strip()]
