"""Faults of watches: events that are late, repeated, out of order, or never come."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from fault_exchange import Exchange, Fault, WatchEvent

Events = list[tuple[float, WatchEvent]]


@dataclass
class LateEvents(Fault):
    """Delay every event of a watch."""

    seconds: float
    count: int = 0

    def events(self, exchange: Exchange, event: WatchEvent) -> Events:
        """Delay one event."""
        self.count += 1
        return [(self.seconds, event)]


@dataclass
class RepeatedEvents(Fault):
    """Send every event several times, out of order."""

    times: int
    within_seconds: float
    count: int = 0
    _random: random.Random = field(default_factory=lambda: random.Random(1))

    def events(self, exchange: Exchange, event: WatchEvent) -> Events:
        """Repeat one event at random times."""
        self.count += 1
        return [(self._random.random() * self.within_seconds, event) for _ in range(self.times)]


@dataclass
class DropEvents(Fault):
    """Drop matching events; without a condition, all of them: the watch is silent."""

    matches: Callable[[Exchange, WatchEvent], bool] = lambda exchange, event: True
    count: int = 0

    def events(self, exchange: Exchange, event: WatchEvent) -> Events:
        """Drop one event."""
        if self.matches(exchange, event):
            self.count += 1
            return []
        return [(0.0, event)]


def a_deletion(exchange: Exchange, event: WatchEvent) -> bool:
    """Match DELETED events."""
    return bool(event.content["type"] == "DELETED")
