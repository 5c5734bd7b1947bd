"""Print one JSON line per file on standard output, for commands that evaluate files."""

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

UNREADABLE = (OSError, ValueError, RecursionError)
"""Errors of a file with unexpected content; decoding errors are ValueErrors."""

_STDIN = Path("-")


def print_lines(files: Sequence[Path], evaluate: Callable[[BinaryIO], dict[str, Any]]) -> int:
    """Print the result of `evaluate` for each file, or for standard input without files.

    A file that cannot be read is reported on standard error; the others are still evaluated.

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
    """Print an error about a file and return the exit code."""
    sys.stderr.write(f"{file}: {reason}\n")
    return 1


def open_binary(file: Path) -> AbstractContextManager[BinaryIO]:
    """Open a file for reading; `-` is standard input, which stays open."""
    return nullcontext(sys.stdin.buffer) if file == _STDIN else file.open("rb")
