"""Determine from the engine's log whether compiled code was loaded or compiled anew.

The supervisor owns one ``CompileLines``; the output thread calls ``read``. Each flag is only ever
set, so no lock is needed.
"""

import re

LOADED = re.compile(r"\] (?:\[\S+\] )?Directly load (?:AOT compilation|the compiled graph)")
"""vLLM 0.32: `compilation/decorators.py` for whole models, `backends.py` for single graphs."""

COMPILED = re.compile(
    r"\] (?:\[\S+\] )?(?:Starting torch\.compile|Compiling a graph for compile range)"
)
"""Neither line is written by an attempt to load."""


class CompileLines:
    """What the log says of compiled code."""

    def __init__(self) -> None:
        self.loaded = False
        self.compiled = False

    def read(self, line: str) -> None:
        """Take in a line of the engine's log."""
        if not self.loaded and LOADED.search(line):
            self.loaded = True
        if not self.compiled and COMPILED.search(line):
            self.compiled = True
