"""One line of JSON for each request: who called, what came of it, and how long it took.

A line has no text of a client or of the model: a name of a key, an open path, addresses, numbers,
and values of fixed sets. Only the request's id may be the client's own.

It is written past the logging module, whose record, handler and stream take three times as long as
everything here, on the event loop that serves all clients.
"""

import logging
import os
import time
from dataclasses import dataclass

import msgspec

LOGGER = "mistral_server.requests"
"""What tells these lines from others of the same stream."""

_STDOUT = 1
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"
"""What a client made up: it could be a secret."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Generated:
    """What came of one request that generates text."""

    first_at: float | None = None
    """When the first event of a stream was sent, on the monotonic clock."""
    failed: bool = False
    """Whether the engine reported an error of its own within the stream."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    generations: int = 0
    """As many as `metrics.GENERATIONS` counted."""
    finish: str | None = None
    """The finish reason of all generations, or `mixed`."""
    loops: int = 0
    """As many as `metrics.LOOPS` counted."""
    loop: str | None = None
    """The kind of these loops: `exact` if any is."""
    tools: str | None = None
    """Outcome of a request with tools, as in `metrics.TOOL_REQUESTS`."""

    def add(self, finish: str, loop: str | None) -> None:
        """Add a generation."""
        self.generations += 1
        self.finish = finish if self.finish in {None, finish} else "mixed"
        if loop is not None:
            self.loops += 1
            self.loop = loop if self.loop is None else "exact"


class RequestLine(msgspec.Struct, kw_only=True):
    """One line; its fields are in this order."""

    time: str = ""
    """When the response was complete, in UTC."""
    level: str = "info"
    logger: str = LOGGER
    client: str | None
    """Name of the client's API key."""
    address: str | None
    """Where the connection came from."""
    forwarded_for: list[str] | None
    """What proxies report, and clients can forge."""
    method: str
    path: str
    status: int | None
    """None if the client left before."""
    result: str
    """As in `metrics.RESPONSES`."""
    milliseconds: float
    """From the headers of the request to the end of the response."""
    first_token_milliseconds: float | None
    """To the first event of a stream."""
    prompt_tokens: int | None
    completion_tokens: int | None
    generations: int
    finish: str | None
    loops: int
    loop: str | None
    tools: str | None
    refused: str | None
    """Why the gate rejected it, as in `metrics.REFUSALS`."""
    id: str


class RequestLog:
    """Writes lines to the standard output of this process, which the supervisor reads.

    Args:
        paths: those that are open, which lines may have.
        descriptor: of the file that is written to.
    """

    def __init__(self, paths: tuple[str, ...], descriptor: int = _STDOUT) -> None:
        self._exact = frozenset(paths)
        self._trees = tuple(path for path in paths if path.endswith("/*"))
        self._descriptor = descriptor
        self._encode = msgspec.json.Encoder().encode
        self._second = -1
        self._date = ""
        self._warned = False

    def write(self, line: RequestLine) -> None:
        """Add the time, and write the line at once: less than a pipe takes is not interleaved."""
        line.time = self._now()
        try:
            os.write(self._descriptor, self._encode(line) + b"\n")
        except OSError as error:
            if not self._warned:  # nothing that reads the log would see more of them
                self._warned = True
                _log.warning("Lines of requests are lost: %s", error)

    def shown_path(self, path: str) -> str:
        """Return the item of the open paths that a path matches, or `other`."""
        if path in self._exact:
            return path
        return next((tree for tree in self._trees if path.startswith(tree[:-1])), _OTHER)

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._date}.{int((now - second) * 1000):03d}Z"


def shown_method(method: str) -> str:
    """Return a method of HTTP, or `other`."""
    return method if method in _METHODS else _OTHER
