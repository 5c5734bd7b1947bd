"""Run programs to their end and wait for conditions; used by every part of the cluster."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mistral_dev.errors import CommandFailedError, DevError, MissingRequirementError

POLL_SECONDS = 0.1
"""Between two looks at a condition: a start takes seconds, a look up to 0.1 s of CPU."""

LONGEST_POLL_SECONDS = 1.0
"""Between two looks at what takes minutes: ten looks a second take half a core from what is waited
for."""


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
        done = subprocess.run(
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
    if done.returncode != 0:
        said = done.stderr.strip() or done.stdout
        raise CommandFailedError(command, done.returncode, said.decode(errors="replace"))
    return done.stdout.decode(errors="replace")


def succeeds(argv: Sequence[str | Path]) -> bool:
    """Say whether a program ends with success; for conditions that are waited for."""
    try:
        run(argv, seconds=30)
    except CommandFailedError:
        return False
    return True


def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Look at a condition until it holds: less often, the longer it takes.

    Raises:
        DevError: it did not hold within `seconds`.
    """
    begun = time.monotonic()
    while not condition():
        waited = time.monotonic() - begun
        if waited > seconds:
            raise DevError(f"Waited {seconds:g} s in vain for: {what}.")
        time.sleep(min(max(POLL_SECONDS, waited / 10), LONGEST_POLL_SECONDS))
