"""Track a tree of processes, so that none of them outlives its root. Linux only.

Used by ``launcher``, a separate process that must stay small (standard library only), and by
``engine_process``. Every orphan below a subreaper is reparented to it, however its parents exited.
So all processes of the engine are found by walking down from there. A process group cannot
guarantee that, because any process may leave its group.
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
    """Let the kernel kill this process when the thread that forked it exits."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def descendants(root: int) -> list[int]:
    """Return the running processes below `root`, children first, without zombies."""
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
    """Send SIGKILL to each process that still exists."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it exited after it was listed


def without_trackers(pids: list[int]) -> list[int]:
    """Return `pids` without Python's resource trackers.

    A tracker exits by itself after its last client, and unlinks the files they left in /dev/shm.
    That memory counts against the pod, and a pod's /dev/shm survives container restarts.
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
        return None  # it exited meanwhile
    # The name in parentheses precedes them, and may itself contain parentheses and spaces.
    state, parent = stat[stat.rindex(b")") + 1 :].split()[:2]
    return state.decode(), int(parent)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
