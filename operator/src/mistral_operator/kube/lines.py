"""Splits a stream of bytes into lines. Pure."""


class Lines:
    """The lines of a stream.

    Args:
        longest: bytes of a line that are kept, the rest is dropped; None keeps all.
    """

    def __init__(self, longest: int | None = None) -> None:
        self._longest = longest
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that a chunk completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._rest = self._kept(self._rest)
        return [self._kept(line) for line in lines]

    def end(self) -> bytes:
        """Return the line that has no end, empty if there is none."""
        return self._rest

    def _kept(self, line: bytes) -> bytes:
        return line[: self._longest]
