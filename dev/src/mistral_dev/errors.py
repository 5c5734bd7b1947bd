"""The errors of the development tools, raised everywhere here and turned into exit codes by `cli`.

- DevError
    - UsageError: the request is invalid; the message says what to do instead.
    - MissingRequirementError: a program or a permission is missing; the message has the remedy.
    - CommandFailedError: a program failed; the message quotes the end of its output.
    - ComponentFailedError: a part of the cluster exited or did not become ready; quotes its log.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

QUOTED_LINES = 15
"""Lines of a log that an error quotes: enough for one Go panic head or one usage error."""


class DevError(Exception):
    """Something the person at the terminal has to know; the message is the whole story."""


class UsageError(DevError):
    """The request contradicts itself or what exists already."""


class MissingRequirementError(DevError):
    """A program or a right is missing on this machine."""


class CommandFailedError(DevError):
    """A program that was run to its end failed.

    Attributes:
        returncode: its exit status, or minus the signal's number.
        output: what it printed to standard error, or else to standard output.
    """

    def __init__(self, argv: Sequence[str], returncode: int, output: str) -> None:
        self.returncode = returncode
        self.output = output
        shown = " ".join(argv)
        super().__init__(f"`{shown}` ended with {returncode}:\n{last_lines(output)}")


class ComponentFailedError(DevError):
    """A long-running part of the cluster failed; the end of its log is quoted."""

    def __init__(self, component: str, problem: str, log: Path) -> None:
        self.component = component
        self.log = log
        tail = (
            last_lines(log.read_text(errors="replace")) if log.exists() else "(no log was written)"
        )
        super().__init__(f"{component} {problem}. The end of {log}:\n{tail}")


def last_lines(text: str, count: int = QUOTED_LINES) -> str:
    """Return the last `count` lines of a text, or a remark when there is none."""
    return "\n".join(text.rstrip().splitlines()[-count:]) or "(no output)"
