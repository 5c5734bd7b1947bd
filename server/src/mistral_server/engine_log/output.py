"""Forward the engine's output, and pass each line to an observer.

It is forwarded byte for byte, or line by line in another format.

``supervisor`` starts one ``Output``. It runs in its own thread, so that a slow reader of our
standard output only slows down the engine's log. Memory is bounded: lines are truncated for the
observer, never for the reader.
"""

import logging
import os
import select
import threading
from collections.abc import Callable, Iterator

LINE_LIMIT = 16 * 1024
"""Maximum bytes of a line for the observer. Failures dump tensors in lines of any length."""

_CHUNK = 64 * 1024

_log = logging.getLogger(__name__)


class LineSplitter:
    """Splits a stream of bytes into lines, with bounded memory.

    CR ends a line like LF: records with line breaks end with CR LF, progress bars with CR.
    Empty lines are skipped.
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
        """Yield the last line if it has no end."""
        if self._line:
            yield self._line.decode(errors="replace")
            self._line.clear()

    def _append(self, part: bytes) -> None:
        self._line += part[: self._limit - len(self._line)]


class Output:
    """Copies `source` to `sink` and passes each line to `observe`.

    Args:
        source: file descriptor of the engine's output.
        sink: file descriptor of our own.
        observe: reads each line.
        line_format: converts each line for the sink; None copies all bytes.
    """

    def __init__(
        self,
        source: int,
        sink: int,
        observe: Callable[[str], None],
        line_format: Callable[[str], bytes] | None = None,
    ) -> None:
        self._line_format = line_format
        self._source = source
        self._sink: int | None = sink
        self._observe: Callable[[str], None] | None = observe
        self._splitter = LineSplitter()
        self._thread = threading.Thread(target=self._run, name="engine-output", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until all output was forwarded, at most `seconds`."""
        self._thread.join(seconds)

    def _run(self) -> None:
        while data := os.read(self._source, _CHUNK):
            if self._line_format is None:
                self._forward(data)
            self._read(self._splitter.feed(data))
        self._read(self._splitter.flush())
        os.close(self._source)

    def _forward(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and self._sink is not None:
            try:
                rest = rest[os.write(self._sink, rest) :]
            except BlockingIOError:  # another process made our standard output non-blocking
                select.select([], [self._sink], [])
            except OSError as error:
                # The reader closed the pipe. Keep reading, or the engine would block.
                self._sink = None
                _log.warning("Cannot forward the engine's output any more: %s", error)

    def _read(self, lines: Iterator[str]) -> None:
        for line in lines:
            if self._line_format is not None:
                self._forward(self._line_format(line))
            if self._observe is None:
                continue
            try:
                self._observe(line)
            except Exception:
                # The engine blocks if its pipe is full: keep forwarding without analysis.
                self._observe = None
                _log.exception("The engine's output is only forwarded from now on, not analyzed")
