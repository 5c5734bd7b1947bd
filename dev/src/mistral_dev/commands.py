"""Run programs to their end and wait for conditions; used by every part of the cluster."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mistral_dev.errors import CommandFailedError, DevError, MissingRequirementError

POLL_SECONDS = 0.1
"""Initial polling interval. A start takes seconds, a poll up to 0.1 s of CPU."""

LONGEST_POLL_SECONDS = 1.0
"""Maximum polling interval. Ten polls a second would take half a core from the polled program."""


def run(
    argv: Sequence[str | Path],
    *,
    text: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    seconds: float = 300,
) -> str:
    """Run a program and return what it wrote to standard output.

    Args:
        argv: the program and its arguments.
        text: what it reads from standard input; nothing when left out.
        env: added to this process's environment.
        cwd: where it runs.
        seconds: it is killed when it takes longer.

    Raises:
        CommandFailedError: it ended with an error, quoted.
        MissingRequirementError: there is no such program.
        DevError: it took longer than `seconds`.
    """
    command = [str(part) for part in argv]
    try:
        process = subprocess.run(
            command,
            input=(text or "").encode(),
            capture_output=True,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            timeout=seconds,
        )
    except FileNotFoundError as error:
        raise MissingRequirementError(f"There is no program `{command[0]}` here.") from error
    except subprocess.TimeoutExpired as error:
        raise DevError(f"`{' '.join(command)}` took longer than {seconds:g} s.") from error
    if process.returncode != 0:
        output = process.stderr.strip() or process.stdout
        raise CommandFailedError(command, process.returncode, output.decode(errors="replace"))
    return process.stdout.decode(errors="replace")


def succeeds(argv: Sequence[str | Path]) -> bool:
    """Return whether a program exits with 0; for conditions to wait for."""
    try:
        run(argv, seconds=30)
    except CommandFailedError:
        return False
    return True


def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Poll a condition until it holds, less often the longer it takes.

    Raises:
        DevError: it did not hold within `seconds`.
    """
    started = time.monotonic()
    while not condition():
        waited = time.monotonic() - started
        if waited > seconds:
            raise DevError(f"Waited {seconds:g} s in vain for: {what}.")
        time.sleep(min(max(POLL_SECONDS, waited / 10), LONGEST_POLL_SECONDS))
