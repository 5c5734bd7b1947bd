"""Ends a conflict about a Deployment's replicas: another controller keeps changing them.

An autoscaler that targets the Deployment instead of the resource would otherwise be answered
endlessly, once for each of its periods. A few edits are reverted. Then the last one is kept for a
while, and a condition says which target that autoscaler should have.
"""

import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import replace

from mistral_operator.api import Reason
from mistral_operator.api.status import Problem
from mistral_operator.apply.plan import CHANGED, Apply, Plan
from mistral_operator.kube.kinds import DEPLOYMENT
from mistral_operator.kube.objects import Key

MOST_REPAIRS = 5
"""More edits than a person makes by mistake."""

WINDOW_SECONDS = 3600.0
"""Within which they are counted."""

_CONTESTED = f"/spec/replicas{CHANGED}"


class Contest:
    """Counts what was undone of each Deployment's replicas.

    Args:
        clock: the time in seconds; only goes forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._repairs: defaultdict[Key, deque[float]] = defaultdict(
            lambda: deque(maxlen=MOST_REPAIRS)
        )

    def settle(self, key: Key, plan: Plan) -> tuple[Plan, list[Problem]]:
        """Return a plan without the repair that would only be answered, and what to say then."""
        step = next((one for one in plan.applies if _is_contested(one)), None)
        if step is None:
            return plan, []
        repairs, now = self._repairs[key], self._clock()
        if len(repairs) < MOST_REPAIRS or repairs[0] <= now - WINDOW_SECONDS:
            repairs.append(now)
            return plan, []
        others = tuple(one for one in plan.applies if one is not step)
        return replace(plan, applies=others), [_problem(step)]

    def forget(self, key: Key) -> None:
        """Forget a resource that is gone."""
        self._repairs.pop(key, None)


def _is_contested(step: Apply) -> bool:
    return step.kind == DEPLOYMENT and step.reason == _CONTESTED


def _problem(step: Apply) -> Problem:
    return Problem(
        Reason.REPLICAS_CONTESTED,
        f"another controller keeps changing spec.replicas of Deployment {step.name}, so the"
        " operator stopped reverting it; point that autoscaler at the scale subresource of this"
        f" resource (desired: {step.desired['spec']['replicas']})",
    )
