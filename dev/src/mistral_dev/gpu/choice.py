"""Select and order scenarios, and drop those without enough time. Pure."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatch

from mistral_dev.gpu.scenario import Scenario


def chosen(scenarios: Iterable[Scenario], patterns: Sequence[str], cpu: bool) -> list[Scenario]:
    """Return the scenarios that match a pattern (all, without one), the most important first."""
    matching = [
        scenario
        for scenario in scenarios
        if (scenario.on_cpu or not cpu)
        and (not patterns or any(fnmatch(scenario.name, pattern) for pattern in patterns))
    ]
    return sorted(matching, key=lambda scenario: scenario.priority)


class Queue:
    """The scenarios that wait for a GPU. Each one is taken once.

    Args:
        scenarios: the most important first.
        deadline: end of the run, on the clock of `take`.
    """

    def __init__(self, scenarios: Iterable[Scenario], deadline: float) -> None:
        self._waiting = list(scenarios)
        self._deadline = deadline
        self.cut: list[Scenario] = []

    def take(self, begins: float) -> Scenario | None:
        """Return the next scenario that can finish in time if it begins then, or None.

        One that cannot is dropped: later there is even less time.
        """
        while self._waiting:
            scenario = self._waiting.pop(0)
            if begins + scenario.seconds <= self._deadline:
                return scenario
            self.cut.append(scenario)
        return None
