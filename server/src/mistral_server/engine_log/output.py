"""The engine's output: passed through byte for byte, and read line by line on the way.

``supervisor`` starts one ``Output``. It runs in a thread of its own, so that a slow reader of our
standard output slows the engine's log down and nothing else. Memory is bounded: lines are cut for
the observer, never for the reader.
"""

import logging
import os
import select
import threading
from collections.abc import Callable, Iterator

LINE_LIMIT = 16 * 1024
"""Bytes of a line that the observer sees. Failures dump tensors in lines of any length."""

_CHUNK = 64 * 1024

_log = logging.getLogger(__name__)


class LineSplitter:
    """Cuts a stream of bytes into lines, with bounded memory.

    CR ends a line as LF does: records with line breaks end in CR LF, progress bars in CR alone.
    Empty lines are left out.
    """

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._line = bytearray()

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the lines that `data` completes."""
        *ends, rest = data.replace(b"\r", b"\n").split(b"\n")
        for end in ends:
            self._append(end)
            yield from self.flush()
        self._append(rest)

    def flush(self) -> Iterator[str]:
        """Yield what was left without an end."""
        if self._line:
            yield self._line.decode(errors="replace")
            self._line.clear()

    def _append(self, part: bytes) -> None:
        self._line += part[: self._limit - len(self._line)]


class Output:
    """Copies `source` to `sink` until its end and gives each line to `observe`."""

    def __init__(self, source: int, sink: int, observe: Callable[[str], None]) -> None:
        self._source = source
        self._sink: int | None = sink
        self._observe: Callable[[str], None] | None = observe
        self._splitter = LineSplitter()
        self._thread = threading.Thread(target=self._run, name="engine-output", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until everything was passed on, or for `seconds`."""
        self._thread.join(seconds)

    def _run(self) -> None:
        while data := os.read(self._source, _CHUNK):
            self._forward(data)
            self._read(self._splitter.feed(data))
        self._read(self._splitter.flush())
        os.close(self._source)

    def _forward(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and self._sink is not None:
            try:
                rest = rest[os.write(self._sink, rest) :]
            except BlockingIOError:  # somebody made our standard output non-blocking
                select.select([], [self._sink], [])
            except OSError as error:
                # Nobody reads any more. The engine must not notice, or it would block.
                self._sink = None
                _log.warning("Cannot forward the engine's output any more: %s", error)

    def _read(self, lines: Iterator[str]) -> None:
        for line in lines:
            if self._observe is None:
                continue
            try:
                self._observe(line)
            except Exception:
                # The engine stops when nobody empties its pipe: serve on with one eye less.
                self._observe = None
                _log.exception("The engine's output is only forwarded from now on, not analyzed")
