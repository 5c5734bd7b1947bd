"""How fast replicas may follow: windows and rates, with the meaning that HPA v2 gives them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mistral_operator.api.autoscaling import ScalingBehavior, ScalingPolicy


@dataclass(frozen=True, slots=True)
class Past:
    """What happened at a time: a number that was wanted, or a change that was made."""

    at: float
    replicas: int


def stabilized(wanted: Sequence[Past], current: int, behavior: ScalingBehavior, now: float) -> int:
    """Return where to go: up to the least, down to the most that was wanted within the windows.

    Args:
        wanted: recommendations, the newest last.
        current: replicas now.
        behavior: the windows.
        now: the time, in seconds.
    """
    up = min(_within(wanted, now, behavior.scale_up.stabilization_window_seconds))
    down = max(_within(wanted, now, behavior.scale_down.stabilization_window_seconds))
    return min(max(current, up), down)


def _within(wanted: Sequence[Past], now: float, seconds: int) -> list[int]:
    earlier = [one.replicas for one in wanted[:-1] if one.at > now - seconds]
    return [*earlier, wanted[-1].replicas]


def limited(
    goal: int, current: int, behavior: ScalingBehavior, changes: Sequence[Past], now: float
) -> int:
    """Return `goal`, or as far towards it as the policies let replicas go now.

    Args:
        goal: where to go.
        current: replicas now.
        behavior: the policies.
        changes: what was added, or taken as a negative number, and when.
        now: the time, in seconds.
    """
    if goal > current:
        return min(goal, max(_ceiling(current, behavior, changes, now), current))
    if goal < current:
        return max(goal, min(_floor(current, behavior, changes, now), current))
    return current


def _ceiling(current: int, behavior: ScalingBehavior, changes: Sequence[Past], now: float) -> int:
    rules = behavior.scale_up
    if rules.select_policy == "Disabled":
        return current
    select = max if rules.select_policy == "Max" else min
    return select(_raised(one, _start(one, current, changes, now)) for one in rules.policies)


def _floor(current: int, behavior: ScalingBehavior, changes: Sequence[Past], now: float) -> int:
    rules = behavior.scale_down
    if rules.select_policy == "Disabled":
        return current
    select = min if rules.select_policy == "Max" else max
    return select(_lowered(one, _start(one, current, changes, now)) for one in rules.policies)


def _start(policy: ScalingPolicy, current: int, changes: Sequence[Past], now: float) -> int:
    """Return the replicas at the beginning of a policy's period."""
    since = now - policy.period_seconds
    return current - sum(one.replicas for one in changes if one.at > since)


def _raised(policy: ScalingPolicy, start: int) -> int:
    if policy.type == "Pods":
        return start + policy.value
    # Whole numbers: 1.1 times 10 replicas would be 12 for a float.
    return -(-start * (100 + policy.value) // 100)


def _lowered(policy: ScalingPolicy, start: int) -> int:
    if policy.type == "Pods":
        return start - policy.value
    return math.floor(start * max(100 - policy.value, 0) / 100)


def kept_seconds(behavior: ScalingBehavior) -> int:
    """Return how long the past matters."""
    rules = (behavior.scale_up, behavior.scale_down)
    periods = [policy.period_seconds for one in rules for policy in one.policies]
    return max(*periods, *(one.stabilization_window_seconds for one in rules))
