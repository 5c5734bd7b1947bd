"""A resource that several groups share, so that none can take it from the others. Pure."""

from collections.abc import Callable, Hashable


class Shares:
    """Amounts of one resource, by group.

    Half of the resource is divided evenly and reserved: each group always gets its part of it. The
    other half is first come, first served.

    Args:
        total: amount of the resource.
        groups: returns how many groups may need it, those without any usage included.
    """

    def __init__(self, total: int, groups: Callable[[], int] = lambda: 1) -> None:
        self.total = total
        self._groups = groups
        self._used: dict[Hashable, int] = {}

    def used(self, group: Hashable) -> int:
        """Return the amount that a group holds."""
        return self._used.get(group, 0)

    def take(self, group: Hashable, amount: int = 1) -> bool:
        """Take an amount for a group; return False if that would use what others may rely on."""
        own = self.used(group) + amount
        others = {key: used for key, used in self._used.items() if key != group}
        count = max(self._groups(), len(others) + 1)
        reserved = self.total // 2 // count
        kept = sum(max(used, reserved) for used in others.values())
        kept += (count - 1 - len(others)) * reserved
        if own + kept > self.total:
            return False
        self._used[group] = own
        return True

    def release(self, group: Hashable, amount: int = 1) -> None:
        """Return an amount that a group took."""
        rest = self.used(group) - amount
        if rest > 0:
            self._used[group] = rest
        else:
            self._used.pop(group, None)
