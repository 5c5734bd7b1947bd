"""The process between supervisor and engine: kills the engine when the supervisor or vLLM exits.

``engine_process`` runs it as ``python -m mistral_server.supervisor.launcher COMMAND...``, with a
pipe as standard input that only the supervisor can write to. A killed vLLM leaves orphans that hold
the GPU for minutes, and a killed supervisor would leave all of vLLM. So this process

- is the session leader and the subreaper of all processes of the engine,
- forwards SIGTERM to the engine's main process,
- kills the remaining processes when the main process exits, and exits with its code (128 + n for
  signal n), and
- kills everything when its standard input closes, which means that the supervisor exited.

The kernel kills the engine's main process if this process is killed. The orphans are then
reparented to the supervisor. Uses the standard library only: it costs 10 MB in every pod.
"""

import os
import select
import signal
import sys
import time
from types import FrameType

from mistral_server.supervisor import process_tree

KILL_SECONDS = 10.0
"""A process that still exists this long after SIGKILL hangs in the kernel; no wait helps."""

TRACKER_SECONDS = 2.0
"""Time for resource trackers to unlink shared memory, in seconds."""

_LIFELINE = 0


def main(command: list[str]) -> int:
    """Run `command` and return its exit code, or 128 + n if signal n terminated it."""
    process_tree.become_subreaper()
    wakeup = _install_signal_handlers()
    engine = _start(command)
    status = _watch(engine, wakeup)
    _kill_leftovers()
    return status if status >= 0 else 128 - status


def _install_signal_handlers() -> int:
    """Return a file descriptor that yields the number of each received signal."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore)
    return reader


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the wake-up descriptor carries the signal."""


def _start(command: list[str]) -> int:
    launcher = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        process_tree.die_with_parent()
        if os.getppid() != launcher:  # it exited before prctl took effect
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        devnull = os.open(os.devnull, os.O_RDONLY)
        os.dup2(devnull, _LIFELINE)
        os.execvp(command[0], command)  # noqa: S606 - the supervisor's own command
    except OSError as error:
        os.write(2, f"mistral-server: cannot run {command[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _watch(engine: int, wakeup: int) -> int:
    """Return the engine's exit code, negative for a signal, once it exited or must be killed."""
    while True:
        ready, _, _ = select.select([wakeup, _LIFELINE], [], [])
        if _LIFELINE in ready and not os.read(_LIFELINE, 1):
            return -signal.SIGKILL
        if wakeup not in ready:
            continue
        for number in os.read(wakeup, 64):
            if number in (signal.SIGTERM, signal.SIGINT):
                os.kill(engine, signal.SIGTERM)  # not reaped yet, so the number is still its own
        if (status := _reap(engine)) is not None:
            return status


def _reap(engine: int) -> int | None:
    """Reap every exited child; return the engine's exit code if it is one of them."""
    exit_code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return exit_code
        if pid == 0:
            return exit_code
        if pid == engine:
            exit_code = os.waitstatus_to_exitcode(status)


def _kill_leftovers() -> None:
    own_pid = os.getpid()
    now = time.monotonic()
    spare_until, deadline = now + TRACKER_SECONDS, now + KILL_SECONDS
    while remaining := process_tree.descendants(own_pid):
        now = time.monotonic()
        if now >= deadline:
            sys.stderr.write(f"mistral-server: processes {remaining} do not exit\n")
            return
        process_tree.kill(
            remaining if now >= spare_until else process_tree.without_trackers(remaining)
        )
        time.sleep(0.02)
        _reap(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
