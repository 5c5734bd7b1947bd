"""Start, find and stop the long-running parts of a cluster; used by the modules of the parts.

A part outlives the Python process that started it, so it is identified by a file with its process
id and its start time. The time guards against an id that the kernel has reused.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mistral_dev.commands import POLL_SECONDS
from mistral_dev.errors import ComponentFailedError, MissingRequirementError
from mistral_dev.network import enter
from mistral_dev.paths import Layout, write_atomically

STOP_SECONDS = 20.0
"""From SIGTERM to SIGKILL. Each part was seen to stop within 3 s on two busy cores."""


@dataclass(frozen=True)
class Processes:
    """The processes of one cluster, by name.

    Args:
        layout: where process files and logs go.
        netns: the network namespace that they run in, or None for this process's own.
    """

    layout: Layout
    netns: str | None = None

    def log(self, name: str) -> Path:
        """Return the log of a part."""
        return self.layout.logs / f"{name}.log"

    def start(self, name: str, argv: Sequence[str | Path], *, outside: bool = False) -> None:
        """Start a part in its own session, unless it runs already.

        Args:
            name: names the process file and the log; the log of the run before is kept as `.1`.
            argv: the program and its arguments.
            outside: run in this process's network namespace instead of the cluster's.
        """
        if self.alive(name):
            return
        command = [str(part) for part in argv] if outside else self.inside(argv)
        program = shutil.which(command[0])
        if program is None:
            raise MissingRequirementError(f"There is no program `{command[0]}` on this machine.")
        pid = self._spawn(program, command, self.log(name))
        write_atomically(self._file(name), f"{pid} {start_time(pid)}\n")

    def inside(self, argv: Sequence[str | Path]) -> list[str]:
        """Return the command that runs `argv` in the cluster's network namespace."""
        command = [str(part) for part in argv]
        return enter(self.netns, command) if self.netns else command

    def alive(self, name: str) -> bool:
        """Return whether a part is running; a zombie is not."""
        return self._pid(name) is not None

    def running(self) -> list[str]:
        """Return the names of all parts that run."""
        return sorted(file.stem for file in self.layout.run.glob("*.pid") if self.alive(file.stem))

    def stop(self, names: Iterable[str], seconds: float = STOP_SECONDS) -> None:
        """End parts, all at once: SIGTERM, then SIGKILL to what is left after `seconds`."""
        pids = {name: pid for name in names if (pid := self._pid(name)) is not None}
        for pid in pids.values():
            _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        for name, pid in pids.items():
            while not has_exited(pid) and time.monotonic() < deadline:
                time.sleep(0.02)
            if not has_exited(pid):
                _signal(pid, signal.SIGKILL)
                wait_for_exit(pid)
            _reap(pid)
            self._file(name).unlink(missing_ok=True)

    def wait_ready(self, name: str, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until a part is ready.

        Raises:
            ComponentFailedError: it exited, or was not ready within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.alive(name):
                raise ComponentFailedError(name, "ended while it was starting", self.log(name))
            if time.monotonic() > deadline:
                raise ComponentFailedError(
                    name, f"was not ready after {seconds:g} s", self.log(name)
                )
            time.sleep(POLL_SECONDS)

    def _file(self, name: str) -> Path:
        return self.layout.run / f"{name}.pid"

    def _pid(self, name: str) -> int | None:
        """Return the process id of a part that runs."""
        try:
            pid, started = map(int, self._file(name).read_text().split())
        except FileNotFoundError:
            return None
        return pid if not has_exited(pid) and start_time(pid) == started else None

    @staticmethod
    def _spawn(program: str, command: list[str], log: Path) -> int:
        """Start a program detached from this one and return its process id.

        `posix_spawn` rather than `Popen`: a `Popen` object warns when it is collected while its
        process runs, and these are meant to run on.
        """
        if log.exists():
            log.replace(log.with_name(f"{log.name}.1"))
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            return os.posix_spawn(
                program,
                command,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                    (os.POSIX_SPAWN_DUP2, output, 2),
                ],
                setsid=True,
            )
        finally:
            os.close(output)


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on, or None when there is none."""
    try:
        # The second field is the name in brackets and may itself hold blanks and brackets.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def has_exited(pid: int) -> bool:
    """Return whether a process has exited; zombies count as exited."""
    fields = _stat(pid)
    return fields is None or fields[0] in "ZX"


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot, or None when there is none."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def wait_for_exit(pid: int, seconds: float = 10) -> None:
    """Wait for the end of a process that was killed; the kernel may take a moment."""
    deadline = time.monotonic() + seconds
    while not has_exited(pid) and time.monotonic() < deadline:
        time.sleep(0.02)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended by itself in the meantime
        os.kill(pid, number)


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # another process started it and reaps it
        os.waitpid(pid, os.WNOHANG)
