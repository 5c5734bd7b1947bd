"""Progress output of the development tools."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Progress:
    """One line per finished piece of work, on standard error.

    Args:
        console: the output; the default is standard error.
        quiet: print nothing.
    """

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._quiet = quiet

    def line(self, text: str) -> None:
        """Write one line."""
        if not self._quiet:
            self._console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, label: str) -> Iterator[None]:
        """Show `label` while the block runs, then one line with the seconds it took.

        A block that raises prints no line: the error has the details.
        """
        started = time.monotonic()
        if self._quiet or not self._console.is_terminal:
            yield
        else:
            with self._console.status(label):
                yield
        self.line(f"{label:<42} {time.monotonic() - started:6.1f} s")
