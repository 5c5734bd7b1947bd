"""Memory of the host that a tree of processes takes, as a pod's memory limit counts it."""

import re
from collections.abc import Iterable
from pathlib import Path

_COUNTED = re.compile(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB$", re.MULTILINE)


def unreclaimable_bytes(pids: Iterable[int]) -> int:
    """Return the bytes that the kernel cannot take back from processes: heap and shared memory.

    Shares of memory that several processes map are added up. Pages of mapped files, such as weights
    that are being loaded, also count to a limit, but are dropped before it kills anyone.
    """
    return sum(map(_of_process, pids))


def _of_process(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0  # it has ended
    return sum(int(kib) * 1024 for kib in _COUNTED.findall(rollup))
