"""One JSON line for each file on standard output: how the commands that judge files answer."""

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

UNREADABLE = (OSError, ValueError, RecursionError)
"""What a file may raise that is not what it should be; decoding errors are ValueErrors."""

_STDIN = Path("-")


def print_lines(files: Sequence[Path], evaluate: Callable[[BinaryIO], dict[str, Any]]) -> int:
    """Print what is judged of each file; without files, of standard input.

    A file that cannot be read is told on standard error; the others are judged all the same.

    Returns:
        The exit code: 1 if a file could not be read.
    """
    code = 0
    for file in files or [_STDIN]:
        try:
            with open_binary(file) as content:
                line = {"file": str(file), **evaluate(content)}
        except UNREADABLE as error:
            code = report_error(file, str(error))
        else:
            sys.stdout.write(json.dumps(line) + "\n")
    return code


def report_error(file: Path, reason: str) -> int:
    """Say what is wrong with a file, and return the exit code for it."""
    sys.stderr.write(f"{file}: {reason}\n")
    return 1


def open_binary(file: Path) -> AbstractContextManager[BinaryIO]:
    """Return a file for reading; `-` is standard input, which stays open."""
    return nullcontext(sys.stdin.buffer) if file == _STDIN else file.open("rb")
