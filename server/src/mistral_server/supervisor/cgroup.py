"""How often the kernel killed a process of this container for want of memory."""

from pathlib import Path

_FILES = ("memory.events", "memory/memory.oom_control")
"""Of cgroup v2 and v1, below the mount point."""


def oom_kills(mount: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the count, 0 where it cannot be read."""
    for name in _FILES:
        try:
            lines = (mount / name).read_text().splitlines()
        except OSError:
            continue
        counts = [line.split() for line in lines]
        for fields in counts:
            if len(fields) == 2 and fields[0] == "oom_kill" and fields[1].isdecimal():
                return int(fields[1])
    return 0
