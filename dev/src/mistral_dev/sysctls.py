"""Restore the machine-wide kernel settings that kubelet changes; used by `node`.

Several clusters share them: the first one saves the old values, and the last one restores them. The
record is in /run, so that it does not outlive the running kernel.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

from mistral_dev.paths import Layout, locked, write_atomically
from mistral_dev.processes import Processes

NAMES = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""What kubelet 1.35 sets when it starts."""

_SYSTEM = Path("/proc/sys")


class _Record(TypedDict):
    holders: list[str]
    values: dict[str, str]


def acquire(root: Path, folder: Path = Path("/run/mistral-small-operator")) -> None:
    """Register the cluster at `root` before its kubelet changes the settings."""
    with locked(folder / "sysctls.lock"):
        record = _read(folder)
        others = [holder for holder in record["holders"] if holder != str(root)]
        if not others and str(root) not in record["holders"]:
            paths = {name: _SYSTEM / name for name in NAMES}
            record["values"] = {n: p.read_text().strip() for n, p in paths.items() if p.exists()}
        record["holders"] = [*others, str(root)]
        write_atomically(folder / "sysctls.json", json.dumps(record))


def release(root: Path, folder: Path = Path("/run/mistral-small-operator")) -> None:
    """Unregister the cluster at `root`; the last one restores the old values."""
    if not (folder / "sysctls.json").exists():
        return
    with locked(folder / "sysctls.lock"):
        record = _read(folder)
        if str(root) not in record["holders"]:
            return
        # Only those that live: a state directory may have been deleted under its cluster.
        record["holders"] = [
            holder
            for holder in record["holders"]
            if holder != str(root) and Processes(Layout(Path(holder))).alive("kubelet")
        ]
        if record["holders"]:
            write_atomically(folder / "sysctls.json", json.dumps(record))
            return
        for name, value in record["values"].items():
            if (_SYSTEM / name).read_text().strip() != value:
                (_SYSTEM / name).write_text(value)
        for name in ("sysctls.json", "sysctls.lock"):
            (folder / name).unlink()


def _read(folder: Path) -> _Record:
    file = folder / "sysctls.json"
    if not file.exists():
        return {"holders": [], "values": {}}
    record: _Record = json.loads(file.read_text())
    return record
