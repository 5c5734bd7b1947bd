"""What the development tools say while they work; handed to everything that takes a while."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Progress:
    """One line per finished piece of work, on standard error.

    Args:
        console: where to write; standard error when left out.
        quiet: say nothing at all.
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

        A block that raises leaves no line: its error says more.
        """
        begun = time.monotonic()
        if self._quiet or not self._console.is_terminal:
            yield
        else:
            with self._console.status(label):
                yield
        self.line(f"{label:<42} {time.monotonic() - begun:6.1f} s")
