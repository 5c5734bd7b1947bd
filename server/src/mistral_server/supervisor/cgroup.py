"""Count the processes of this container that the kernel's OOM killer has killed."""

from pathlib import Path

_FILES = ("memory.events", "memory/memory.oom_control")
"""Files of cgroup v2 and v1, relative to the mount point."""


def oom_kills(mount: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of OOM kills, or 0 if it cannot be read."""
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
