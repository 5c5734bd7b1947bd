"""Keep hold of a tree of processes, so that none of them outlives it. Linux only.

Used by ``launcher``, a process of its own that must stay small (standard library only), and by
``process``. A process that became a subreaper inherits every orphan below it, however its parents
ended; so whatever the engine started can always be found by walking down from there, which a
process group cannot promise: any process may leave its group.
"""

import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_PR_SET_CHILD_SUBREAPER = 36

_TRACKER = b"multiprocessing.resource_tracker"


def become_subreaper() -> None:
    """Make orphans below this process its children instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that forked it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def descendants(root: int) -> list[int]:
    """Return the living processes below `root`: children first, zombies left out."""
    children: dict[int, list[int]] = {}
    zombies = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (process := _state_and_parent(entry)):
            state, parent = process
            children.setdefault(parent, []).append(int(entry.name))
            if state in "ZX":
                zombies.add(int(entry.name))
    result: list[int] = []
    level = [root]
    while level:
        level = [child for parent in level for child in children.get(parent, [])]
        result += level
    return [pid for pid in result if pid not in zombies]


def kill(pids: list[int]) -> None:
    """Send SIGKILL to each that still exists."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it ended since it was listed


def without_trackers(pids: list[int]) -> list[int]:
    """Return `pids` less Python's resource trackers.

    A tracker ends by itself once all its clients are gone, and unlinks what they left in /dev/shm.
    That memory counts against the pod, and a pod's /dev/shm survives the restart of a container.
    """
    return [pid for pid in pids if _TRACKER not in _command_line(pid)]


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}, {value}): {os.strerror(error)}")


def _state_and_parent(entry: Path) -> tuple[str, int] | None:
    try:
        stat = (entry / "stat").read_bytes()
    except OSError:
        return None  # it ended while we looked
    # The name in brackets comes before them, and may itself hold brackets and blanks.
    state, parent = stat[stat.rindex(b")") + 1 :].split()[:2]
    return state.decode(), int(parent)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
