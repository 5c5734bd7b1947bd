"""The control group of a node cluster, so that several kubelets leave each other's pods alone.

kubelet removes every pod's group below its root that it does not know. With the usual root two
clusters on one machine would kill each other's pods, so each has a root of its own.
"""

from __future__ import annotations

from pathlib import Path

from mistral_dev.commands import wait_until
from mistral_dev.errors import DevError

_MOUNT = Path("/sys/fs/cgroup")
_UNIFIED = "unified"
"""The hierarchy of version 2 that rides along with those of version 1 and controls nothing."""

_EMPTY_SECONDS = 20.0
"""Until the kernel lets go of a group whose processes were killed."""


def create(name: str) -> None:
    """Make the group in every hierarchy."""
    for hierarchy in _hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        # A new group of the old cpuset hierarchy has no cores and no memory nodes of its own,
        # and no process can enter it until it has.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (group / file).exists() and not (group / file).read_text().strip():
                (group / file).write_text((hierarchy / file).read_text())


def delete(name: str) -> None:
    """Remove the group and all that is in it, deepest first, where the runtime made some too.

    Raises:
        DevError: a process is still in it.
    """
    for hierarchy in (*_hierarchies(), _MOUNT / _UNIFIED):
        wait_until(
            lambda group=hierarchy / name: _removed(group),  # type: ignore[misc]
            f"the processes in {hierarchy / name} to end",
            _EMPTY_SECONDS,
        )


def _removed(group: Path) -> bool:
    for folder in sorted(group.rglob("*/"), reverse=True) if group.exists() else []:
        if folder.is_dir() and not _remove(folder):
            return False
    return _remove(group)


def _remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # busy: a process in it has not quite ended
        return False
    return True


def _hierarchies() -> list[Path]:
    """Return the root of the one hierarchy of version 2, or of each one of version 1."""
    if (_MOUNT / "cgroup.controllers").exists():
        return [_MOUNT]
    hierarchies = [
        folder
        for folder in _MOUNT.iterdir()
        if folder.is_dir() and not folder.is_symlink() and folder.name != _UNIFIED
    ]
    if not hierarchies:
        raise DevError(f"No control groups are mounted at {_MOUNT}: containers need them.")
    return hierarchies
