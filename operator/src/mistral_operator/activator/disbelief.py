"""Targets of an endpoint that belong to another one, as their own gates say."""

from collections.abc import Callable

_SECONDS = 60.0
"""Time in which such a target is not tried again, at least."""


class Disbelief:
    """Remembers such targets.

    One may become a replica of the endpoint, since addresses are reused. So it counts again once it
    has left the slices, or with the first news of them after a minute.

    Args:
        clock: the time in seconds; it only goes forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def add(self, target: str) -> None:
        """Remember a target."""
        self._until[target] = self._clock() + _SECONDS

    def believed(self, targets: tuple[str, ...]) -> tuple[str, ...]:
        """Return the targets in the slices without those that belong to another endpoint."""
        if not self._until:
            return targets
        now, listed = self._clock(), {*targets}
        self._until = {
            one: until for one, until in self._until.items() if one in listed and now < until
        }
        return tuple(one for one in targets if one not in self._until)
