"""Faults of requests: error responses, lost and late responses, and a killed operator."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from fault_exchange import Disconnect, Exchange, Fault, ProxyResponse

_REASONS = {
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
}
Matches = Callable[[Exchange], bool]


def any_request(exchange: Exchange) -> bool:
    """Match every request but watches."""
    return not exchange.is_watch


def a_write(exchange: Exchange) -> bool:
    """Match the writes, those of the Lease left out."""
    return exchange.write is not None


def of_the_lease(exchange: Exchange) -> bool:
    """Match reads and writes of the Lease."""
    return exchange.kind == "leases"


@dataclass
class KillAt(Fault):
    """Kill the operator at a write: before the API server receives it, or before the response."""

    write: int
    kill: Callable[[], None]
    after_it: bool
    done: bool = False

    async def before(self, exchange: Exchange) -> ProxyResponse | None:
        """Kill instead of forwarding."""
        if not self.after_it:
            self._at(exchange)
        return None

    async def after(self, exchange: Exchange, response: ProxyResponse) -> ProxyResponse:
        """Kill instead of responding."""
        if self.after_it:
            self._at(exchange)
        return response

    def _at(self, exchange: Exchange) -> None:
        if exchange.write == self.write and not self.done:
            self.done = True
            self.kill()
            raise Disconnect


@dataclass
class RespondEvery(Fault):
    """ProxyResponse every n-th matching request in place of the API server."""

    every: int
    status: int
    matches: Matches = any_request
    headers: dict[str, str] = field(default_factory=dict)
    count: int = 0
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def before(self, exchange: Exchange) -> ProxyResponse | None:
        """ProxyResponse, if it is its turn."""
        if not self.matches(exchange) or next(self._numbers) % self.every:
            return None
        self.count += 1
        message = f"injected {self.status}"
        return ProxyResponse.failure(self.status, _REASONS[self.status], message, **self.headers)


@dataclass
class LoseResponses(Fault):
    """Break the connection of every n-th write once the API server has carried it out."""

    every: int
    count: int = 0
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def after(self, exchange: Exchange, response: ProxyResponse) -> ProxyResponse:
        """Lose every n-th response."""
        if a_write(exchange) and next(self._numbers) % self.every == 0:
            self.count += 1
            raise Disconnect
        return response


@dataclass
class Late(Fault):
    """Delay the responses to matching requests."""

    seconds: float
    matches: Matches = any_request
    count: int = 0

    async def after(self, exchange: Exchange, response: ProxyResponse) -> ProxyResponse:
        """Delay the response."""
        if self.matches(exchange):
            self.count += 1
            await asyncio.sleep(self.seconds)
        return response


@dataclass
class Hold(Fault):
    """Hold matching requests until `release`.

    Args:
        matches: which requests.
        arrive: whether they reach the API server afterwards though their client has gone.
    """

    matches: Matches = any_request
    arrive: bool = True
    count: int = 0
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a request is delayed."""

    async def before(self, exchange: Exchange) -> ProxyResponse | None:
        """Delay the request."""
        if self.matches(exchange) and not self._released.is_set():
            self.count += 1
            self.held.set()
            await self._released.wait()
            if exchange.is_abandoned() and not self.arrive:
                raise Disconnect
        return None

    def release(self) -> None:
        """Let delayed requests go on, and later ones pass."""
        self._released.set()


@dataclass
class AtList(Fault):
    """Do something right before the n-th list of a kind is forwarded."""

    kind: str
    number: int
    action: Callable[[], Awaitable[None]]
    done: bool = False
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def before(self, exchange: Exchange) -> ProxyResponse | None:
        """Do it, if it is that list."""
        if _is_list(exchange) and exchange.kind == self.kind and next(self._numbers) == self.number:
            self.done = True
            await self.action()
        return None


@dataclass
class AtWatch(Fault):
    """Do something right before the first watch of a kind is forwarded."""

    kind: str
    action: Callable[[], Awaitable[None]]
    done: bool = False

    async def before(self, exchange: Exchange) -> ProxyResponse | None:
        """Do it, if it is that watch."""
        if exchange.is_watch and exchange.kind == self.kind and not self.done:
            self.done = True
            await self.action()
        return None


@dataclass
class StaleLists(Fault):
    """Store lists, and serve the stored ones while `stale` is set."""

    stale: bool = False
    count: int = 0
    _lists: dict[tuple[str, str, str], ProxyResponse] = field(default_factory=dict)

    async def before(self, exchange: Exchange) -> ProxyResponse | None:
        """Serve a stored list."""
        if not (self.stale and _is_list(exchange)):
            return None
        stored = self._lists.get(_list_key(exchange))
        self.count += stored is not None
        return stored

    async def after(self, exchange: Exchange, response: ProxyResponse) -> ProxyResponse:
        """Store a list."""
        if _is_list(exchange) and response.status == 200 and not self.stale:
            self._lists[_list_key(exchange)] = response
        return response


def _is_list(exchange: Exchange) -> bool:
    collection = exchange.method == "GET" and exchange.kind and not exchange.name
    return bool(collection) and not exchange.is_watch


def _list_key(exchange: Exchange) -> tuple[str, str, str]:
    selector = dict(parse_qsl(exchange.query)).get("labelSelector", "")
    return exchange.path, selector, exchange.accepts
