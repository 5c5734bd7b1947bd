"""Small things that every build step of this package needs: a line of progress, a size, the tree.

Called by the other modules of this package.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mistral_dev.errors import UsageError
from mistral_dev.paths import CHECKOUT
from mistral_dev.progress import Progress

SOURCE_PACKAGES = (
    CHECKOUT / "operator" / "src" / "mistral_operator",
    CHECKOUT / "server" / "src" / "mistral_server",
)
"""Our two import packages, as they go into the wheel."""

PYTHON = (3, 11)
"""The CPython that the locks are made for and that Debian 12 has."""

_MEGABYTE = 1_000_000


def require_python() -> None:
    """Check that this interpreter is of the version that environments and images hold.

    Raises:
        UsageError: it is another one.
    """
    if sys.version_info[:2] != PYTHON:
        version = ".".join(str(part) for part in PYTHON)
        raise UsageError(
            f"The engine and the images hold CPython {version} and are made by an interpreter of "
            f"the same version, but this is {sys.version.split()[0]}. Run this command with "
            f"python{version}."
        )


@contextmanager
def sized_step(progress: Progress, label: str, result: Path) -> Iterator[None]:
    """Write one line with the seconds that the block took and the size of its ``result``."""
    started = time.monotonic()
    yield
    size = size_of(result) / _MEGABYTE
    progress.line(f"{label:<42} {time.monotonic() - started:6.1f} s {size:7.1f} MB")


def size_of(path: Path) -> int:
    """Bytes of a file, or of all regular files below a directory (hard links count each time)."""
    if path.is_file():
        return path.stat().st_size
    return sum(
        entry.lstat().st_size
        for entry in path.rglob("*")
        if entry.is_file() and not entry.is_symlink()
    )
