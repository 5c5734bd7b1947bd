"""How fast replicas may follow the load: windows and rates, with the semantics of HPA v2."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mistral_operator.api.autoscaling import ScalingBehavior, ScalingPolicy


@dataclass(frozen=True, slots=True)
class ReplicaRecord:
    """A recommended number of replicas, or a change of it, at a time."""

    at: float
    replicas: int


def stabilized(
    recommendations: Sequence[ReplicaRecord], current: int, behavior: ScalingBehavior, now: float
) -> int:
    """Return the stabilized recommendation.

    Scale up only to the lowest, down only to the highest recommendation within its window.

    Args:
        recommendations: the newest last.
        current: replicas now.
        behavior: the windows.
        now: the time, in seconds.
    """
    up = min(_within(recommendations, now, behavior.scale_up.stabilization_window_seconds))
    down = max(_within(recommendations, now, behavior.scale_down.stabilization_window_seconds))
    return min(max(current, up), down)


def _within(recommendations: Sequence[ReplicaRecord], now: float, seconds: int) -> list[int]:
    earlier = [record.replicas for record in recommendations[:-1] if record.at > now - seconds]
    return [*earlier, recommendations[-1].replicas]


def rate_limited(
    desired: int,
    current: int,
    behavior: ScalingBehavior,
    changes: Sequence[ReplicaRecord],
    now: float,
) -> int:
    """Return `desired`, or the nearest number of replicas that the policies allow now.

    Args:
        desired: the desired replicas.
        current: replicas now.
        behavior: the policies.
        changes: earlier changes; negative numbers are removed replicas.
        now: the time, in seconds.
    """
    if desired > current:
        return min(desired, max(_ceiling(current, behavior, changes, now), current))
    if desired < current:
        return max(desired, min(_floor(current, behavior, changes, now), current))
    return current


def _ceiling(
    current: int, behavior: ScalingBehavior, changes: Sequence[ReplicaRecord], now: float
) -> int:
    rules = behavior.scale_up
    if rules.select_policy == "Disabled":
        return current
    select = max if rules.select_policy == "Max" else min
    return select(
        _increased(policy, _start(policy, current, changes, now)) for policy in rules.policies
    )


def _floor(
    current: int, behavior: ScalingBehavior, changes: Sequence[ReplicaRecord], now: float
) -> int:
    rules = behavior.scale_down
    if rules.select_policy == "Disabled":
        return current
    select = min if rules.select_policy == "Max" else max
    return select(
        _decreased(policy, _start(policy, current, changes, now)) for policy in rules.policies
    )


def _start(
    policy: ScalingPolicy, current: int, changes: Sequence[ReplicaRecord], now: float
) -> int:
    """Return the replicas at the beginning of a policy's period."""
    since = now - policy.period_seconds
    return current - sum(change.replicas for change in changes if change.at > since)


def _increased(policy: ScalingPolicy, start: int) -> int:
    if policy.type == "Pods":
        return start + policy.value
    # Whole numbers: 1.1 times 10 replicas would be 12 for a float.
    return -(-start * (100 + policy.value) // 100)


def _decreased(policy: ScalingPolicy, start: int) -> int:
    if policy.type == "Pods":
        return start - policy.value
    return math.floor(start * max(100 - policy.value, 0) / 100)


def history_seconds(behavior: ScalingBehavior) -> int:
    """Return how long records must be kept, in seconds."""
    directions = (behavior.scale_up, behavior.scale_down)
    periods = [policy.period_seconds for direction in directions for policy in direction.policies]
    return max(*periods, *(direction.stabilization_window_seconds for direction in directions))
