"""What one start does with the kept compile cache: use it, report it, and discard it if it failed.

The operator names the directory in the variable COMPILE_CACHE_ENV. Without it, or if it cannot be
used, compiled code lies in the pod, where it outlives restarts of the container.
"""

import importlib.metadata
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from mistral_server.contract import (
    COMPILE_CACHE_ENV,
    MEMORY_FAILURES,
    CompileCacheReport,
    FailureClass,
    ServerSettings,
)
from mistral_server.engine.compile_key import PACKAGES, compile_key
from mistral_server.engine_log.compile_lines import CompileLines
from mistral_server.supervisor.compile_directory import (
    CompileDirectory,
    FailedBeforeError,
    UnusableError,
    clear,
    open_directory,
)
from mistral_server.supervisor.gpus import gpus

_INNOCENT = MEMORY_FAILURES | {
    FailureClass.INVALID_CONFIGURATION,
    FailureClass.INCOMPATIBLE_VERSIONS,
    FailureClass.MODEL_UNAVAILABLE,
    FailureClass.MODEL_DAMAGED,
    FailureClass.GPU_UNSUPPORTED,
}
"""Classes of failures that no compiled code causes."""

TRIAL_SECONDS = 600.0
"""How long after the first chat a failure may still be that of loaded code. A damaged kernel that
no test chat needs, such as one for images, would otherwise end each engine after its start."""

_P2P = "VLLM_SKIP_P2P_CHECK"

_log = logging.getLogger(__name__)


class CompileCache:
    """The compile cache of one run of a server."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._lines = CompileLines()
        self._directory: CompileDirectory | None = None
        self._was_kept = False
        self._suspect: tuple[Path, str] | None = None
        """Root and key that are not used because a start with them failed."""
        self._ready_at: float | None = None
        self._is_given_up = False
        self._lock = threading.Lock()
        """Of what is given up while another thread still waits for the claim."""
        self.report: CompileCacheReport | None = None
        """What the start did with it; None until that is known, and if none is configured."""

    def open(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the engine's environment, with the cache if it can be used. Takes some time."""
        root = environment.get(COMPILE_CACHE_ENV)
        if not root:
            return dict(environment)
        key = ""
        try:
            key = self._key(environment)
            directory = open_directory(Path(root), key)
        except UnusableError as error:
            if isinstance(error, FailedBeforeError):
                self._suspect = (Path(root), key)
            self._turn_off(str(error))
            return dict(environment)
        was_kept = directory.kept
        with self._lock:
            if self._is_given_up:
                directory.close()
                return dict(environment)
            self._directory, self._was_kept = directory, was_kept
        _log.info("Compiled code is kept in %s", directory.path)
        return {**environment, **directory.variables()}

    def give_up(self, reason: str) -> None:
        """Do without it from now on, as a call does not return. That one changes nothing later."""
        with self._lock:
            self._is_given_up = True
            self._directory = None  # its lock ends with the process: closing it may hang as well
            self._turn_off(reason)

    def _turn_off(self, reason: str) -> None:
        self.report = CompileCacheReport(use="off", reason=reason)
        _log.warning("The compile cache is not used: %s", reason)

    def read(self, line: str) -> None:
        """Take in a line of the engine's log."""
        self._lines.read(line)

    def mark_ready(self) -> None:
        """Note that a chat was answered."""
        self._ready_at = time.monotonic()
        directory = self._directory
        if directory is None:
            return
        directory.mark_ready()
        # An eager engine writes neither line, and compiles kernels only.
        loaded = self._lines.loaded or self._was_kept
        hit = loaded and not self._lines.compiled
        with self._lock:
            if not self._is_given_up:
                self.report = CompileCacheReport(use="hit" if hit else "miss")

    def mark_failed(self, failure: FailureClass) -> None:
        """Discard it after a failure that it may have caused, and trust it if it did not."""
        if failure in _INNOCENT or self._has_proved_itself():
            return
        if self._suspect is not None:
            _log.info("It failed without the compile cache too: the next start uses it")
            clear(*self._suspect)
        if self._directory is None or (self.report is not None and self.report.use != "hit"):
            return
        # What a first start has compiled when its time is over helps the second one.
        if self._was_kept or failure is not FailureClass.START_TIMEOUT:
            _log.warning(
                "The compile cache may be the cause: it is deleted, and not used for a day"
            )
            self._directory.discard()

    def _has_proved_itself(self) -> bool:
        """Return whether the server has answered for so long that its code is sound."""
        return self._ready_at is not None and time.monotonic() - self._ready_at > TRIAL_SECONDS

    def close(self) -> None:
        """Release it."""
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    def _key(self, environment: Mapping[str, str]) -> str:
        """Return the key.

        Raises:
            UnusableError: the GPUs are not known, or something is kept that depends on the node.
        """
        if environment.get(_P2P, "1") != "1":
            # vLLM then keeps there which GPUs of a node reach each other, without the node's name.
            raise UnusableError(f"{_P2P} is set, whose result is not the same on every node")
        cards = gpus() if self._settings.device == "cuda" else (self._settings.device,)
        if not cards:
            raise UnusableError("nvidia-smi does not say which GPUs there are")
        return compile_key(self._settings, environment, _versions(), cards)


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = ""
    return versions
