"""Requests, responses and watch events of a fault proxy, and how faults change them."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

WRITES = {"POST", "PUT", "PATCH", "DELETE"}


class Disconnect(Exception):
    """The connection breaks before a response."""


@dataclass(frozen=True)
class ProxyResponse:
    """A response of the API server or of a fault."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def failure(cls, status: int, reason: str, message: str, **headers: str) -> Self:
        """Return an error response in the format of the API server."""
        body = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": reason,
            "message": message,
            "code": status,
        }
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, json.dumps(body).encode(), named)


@dataclass
class Exchange:
    """One request of the operator and its result."""

    number: int
    write: int | None
    """Number among the writes, from 1; None for reads and for the Lease."""
    method: str
    path: str
    query: str
    kind: str
    """Plural, with the subresource if any."""
    namespace: str
    name: str
    accepts: str = ""
    """Media types that the client accepts: a list of metadata is another one than a list."""
    is_watch: bool = False
    is_abandoned: Callable[[], bool] = lambda: False
    """Returns whether the client has closed the connection."""
    started_at: float = field(default_factory=time.monotonic)
    status: int | None = None
    """Status of the API server's response; None before it."""
    responded_at: float | None = None
    """Monotonic time of the response."""

    @property
    def is_write(self) -> bool:
        """Whether it is a write, of the Lease or anything else."""
        return self.method in WRITES

    @property
    def was_accepted(self) -> bool:
        """Whether the API server carried out a write."""
        return self.is_write and self.status is not None and self.status < 300

    def __str__(self) -> str:
        """Return the request in a few words."""
        return f"{self.method} {self.kind} {self.name}".rstrip()


@dataclass
class WatchEvent:
    """One line of a watch."""

    line: bytes

    @property
    def content(self) -> dict[str, Any]:
        """Return the event's type and object."""
        decoded: dict[str, Any] = json.loads(self.line)
        return decoded


class Fault:
    """Does nothing; faults override what they change."""

    async def before(self, exchange: Exchange) -> ProxyResponse | None:
        """Return a response instead of the API server's, or None to forward the request."""
        return None

    async def after(self, exchange: Exchange, response: ProxyResponse) -> ProxyResponse:
        """Return what the operator receives of the API server's response."""
        return response

    def events(self, exchange: Exchange, event: WatchEvent) -> list[tuple[float, WatchEvent]]:
        """Return what the operator receives of a watch event, each with a delay in seconds."""
        return [(0.0, event)]


def parse_path(path: str) -> tuple[str, str, str]:
    """Return kind with subresource, namespace and name of a URL path of the API."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces":
        namespace, parts = parts[1], parts[2:]
    if not parts:
        return "", "", ""
    name = parts[1] if len(parts) > 1 else ""
    return "/".join([parts[0], *parts[2:]]), namespace, name
