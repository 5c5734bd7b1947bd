"""How many replicas the demand needs: the rule of HPA for an average over pods."""

import math

from mistral_operator.autoscaling.load import LoadSample


def recommend(sample: LoadSample, target: int, current: int, tolerance: float) -> int:
    """Return how many replicas the demand needs, `current` if there is no reason to change.

    For scaling up, starting replicas count as idle, so that a burst does not add replicas twice.
    Pods without a report count as idle for scaling up and as full for scaling down: unknown load
    alone never changes the number of replicas.
    """
    if not sample.reported or not current:
        return current
    demand = sample.demand(target)
    reported = len(sample.reported)
    if demand > target * reported:
        return _scale_up(
            demand, target, max(current, reported + sample.unreported), current, tolerance
        )
    return _scale_down(
        demand + sample.unreported * target,
        target,
        reported + sample.unreported,
        current,
        tolerance,
    )


def _scale_up(demand: float, target: int, pods: int, current: int, tolerance: float) -> int:
    if demand <= target * pods * (1 + tolerance):
        return current
    return max(math.ceil(demand / target), current)


def _scale_down(assumed: float, target: int, pods: int, current: int, tolerance: float) -> int:
    if assumed >= target * pods * (1 - tolerance):
        return current
    return min(max(math.ceil(assumed / target), 1), current)
