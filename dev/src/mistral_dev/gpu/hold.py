"""Pause an engine just before it opens a GPU, so that it imports while another one is tested.

Of the 55 s that a start took on an H100, 46 were Python's imports. A server that is started
in advance imports on an idle core and waits here, in the worker process, before vLLM's worker is
imported. Nothing is on the GPU yet, and the log does not show the wait.

``directory`` makes a folder for PYTHONPATH whose ``sitecustomize`` calls `install` in every Python
process of the server.
"""

import importlib.abc
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

VARIABLE = "MISTRAL_GPU_HOLD"
"""Names the file whose appearance ends the wait."""

_WORKERS = frozenset({"vllm.v1.worker.gpu_worker", "vllm.v1.worker.cpu_worker"})
_SITE = """\
from mistral_dev.gpu import hold

hold.install()
"""


def directory(work: Path) -> Path:
    """Return the folder that has to come first on a server's PYTHONPATH."""
    folder = work / "hold"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_SITE)
    return folder


def is_waiting(gate: Path) -> bool:
    """Return whether a held server waits before its worker."""
    return any(gate.parent.glob(f"{gate.name}.waits.*"))


def install() -> None:
    """Wait at the import of the worker, if this process is to be held."""
    if gate := os.environ.get(VARIABLE):
        sys.meta_path.insert(0, _Gate(Path(gate)))


class _Gate(importlib.abc.MetaPathFinder):
    """Finds nothing, but delays the import of one module."""

    def __init__(self, gate: Path) -> None:
        self._gate = gate

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Wait, once, in the processes that compute."""
        if name in _WORKERS and multiprocessing.parent_process() is not None:
            self._gate.with_name(f"{self._gate.name}.waits.{os.getpid()}").touch()
            while not self._gate.exists():
                time.sleep(0.02)
        return None
