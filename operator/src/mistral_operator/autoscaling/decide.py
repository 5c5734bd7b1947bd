"""One decision: the number of replicas, its reason and its inputs."""

import math
from dataclasses import dataclass, field, replace

from mistral_operator.api.autoscaling import Autoscaling, ScalingReason
from mistral_operator.autoscaling.behavior import (
    ReplicaRecord,
    history_seconds,
    rate_limited,
    stabilized,
)
from mistral_operator.autoscaling.load import LoadSample
from mistral_operator.autoscaling.recommend import recommend
from mistral_operator.kube.plurals import counted


@dataclass(frozen=True, slots=True)
class ScalingHistory:
    """Records of earlier decisions that the next one needs."""

    replicas: int
    """Replicas of the last decision."""
    recommendations: tuple[ReplicaRecord, ...] = ()
    changes: tuple[ReplicaRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """A number of replicas, with its reason and inputs."""

    replicas: int
    reason: ScalingReason
    message: str = ""
    sample: LoadSample = field(default_factory=LoadSample)
    target: int | None = None

    @property
    def load(self) -> int | None:
        """Productive requests in flight, None if unknown."""
        if not self.sample.reported:
            return self.sample.held or None
        if self.target is None:
            return None
        return round(self.sample.demand(self.target))

    @property
    def frozen(self) -> bool:
        """Whether looping requests keep needed replicas from being added."""
        return self.reason is ScalingReason.FROZEN


def initial_history(replicas: int, now: float) -> ScalingHistory:
    """Return the history after a restart, when only the number of replicas is known.

    That number counts as a recommendation, so a restart does not scale down before the
    stabilization window is over.
    """
    return ScalingHistory(replicas, (ReplicaRecord(now, replicas),))


def decide_replicas(
    spec: Autoscaling, history: ScalingHistory, sample: LoadSample, target: int | None, now: float
) -> tuple[Decision, ScalingHistory]:
    """Return the decision and the new history.

    Args:
        spec: bounds and behavior.
        history: history of earlier decisions.
        sample: the load of the pods.
        target: target number of requests in flight per replica, None if unknown.
        now: the time in seconds, of a monotonic clock.
    """
    current = history.replicas
    recommendation = _recommended(spec, current, sample, target)
    since = now - history_seconds(spec.behavior)
    recommendations = (
        *_since(history.recommendations, since),
        ReplicaRecord(now, recommendation.replicas),
    )
    changes = _since(history.changes, since)
    if current:
        desired = _clamped(spec, stabilized(recommendations, current, spec.behavior, now))
    else:
        # Scale from zero immediately: the window is for fluctuating loads.
        desired = _clamped(spec, recommendation.replicas)
    if spec.min_replicas <= current <= spec.max_replicas:
        first = min(desired, 1)
        desired = max(rate_limited(desired, current, spec.behavior, changes, now), first)
    if desired != current:
        changes = (*changes, ReplicaRecord(now, desired - current))
    decision = replace(
        recommendation, replicas=desired, reason=_reason(spec, recommendation, current, desired)
    )
    decision = replace(decision, message=_message(decision, current, recommendation.replicas))
    return decision, ScalingHistory(desired, recommendations, changes)


def _recommended(
    spec: Autoscaling, current: int, sample: LoadSample, target: int | None
) -> Decision:
    """Return the recommendation for the demand, regardless of bounds and behavior."""
    if not current or (sample.idle and not spec.min_replicas):
        reason = ScalingReason.ON_TARGET if current or sample.held else ScalingReason.ASLEEP
        return Decision(_replicas_for_queue(sample, target), reason, sample=sample, target=target)
    if not sample.reported and not sample.unreported:
        recommended = max(current, _replicas_for_queue(sample, target))
        reason = ScalingReason.ON_TARGET if recommended > current else ScalingReason.NOT_READY
        return Decision(recommended, reason, sample=sample, target=target)
    if target is None or not sample.reported:
        # Missing reports count as a recommendation to stay, so they cannot end a window.
        return Decision(current, ScalingReason.NO_SIGNALS, sample=sample, target=target)
    recommended = recommend(sample, target, current, spec.tolerance)
    if recommended > current and sample.loop_share > spec.freeze_loop_share:
        return Decision(current, ScalingReason.FROZEN, sample=sample, target=target)
    return Decision(recommended, ScalingReason.ON_TARGET, sample=sample, target=target)


def _replicas_for_queue(sample: LoadSample, target: int | None) -> int:
    """Return the replicas that queued requests need; one if the target is unknown."""
    return math.ceil(sample.held / (target or sample.held or 1))


def _reason(
    spec: Autoscaling, recommendation: Decision, current: int, desired: int
) -> ScalingReason:
    if desired != current:
        return ScalingReason.SCALED_UP if desired > current else ScalingReason.SCALED_DOWN
    if recommendation.reason is not ScalingReason.ON_TARGET:
        return recommendation.reason
    if recommendation.replicas > spec.max_replicas:
        return ScalingReason.AT_MAXIMUM
    if _clamped(spec, recommendation.replicas) != current:
        return ScalingReason.STABILIZED
    return ScalingReason.ON_TARGET


def _message(decision: Decision, before: int, recommended: int) -> str:
    if decision.reason is ScalingReason.NO_SIGNALS:
        return "no ready pod reports its load; replicas are unchanged"
    if decision.reason is ScalingReason.NOT_READY:
        return "no pod is ready; replicas are unchanged"
    if decision.reason is ScalingReason.ASLEEP:
        return "scaled to zero while idle; the next request starts a replica"
    after = counted(decision.replicas, "replica")
    change = f"from {before} to {after}: " * (decision.replicas != before)
    return change + _grounds(decision, recommended) + _exception(decision)


def _grounds(decision: Decision, recommended: int) -> str:
    sample = decision.sample
    if not sample.reported:
        return f"{counted(sample.held, 'request')} queued in the activator"
    if not recommended:
        return "all replicas are idle"
    requests = counted(decision.load or 0, "productive request")
    return (
        f"{requests} in flight ({sample.running} running, {sample.waiting + sample.held} waiting,"
        f" {sample.looping} looping) need{'s' * (decision.load == 1)}"
        f" {'more than ' * decision.frozen}{counted(recommended, 'replica')}"
        f" at a target of {decision.target} per replica"
    )


def _exception(decision: Decision) -> str:
    if decision.reason is ScalingReason.FROZEN:
        return (
            "; no replica is added while so many requests loop: set spec.loops.action to Stop, or"
            " raise spec.autoscaling.freezeLoopShare"
        )
    if decision.reason is ScalingReason.AT_MAXIMUM:
        return "; raise spec.autoscaling.maxReplicas to allow more"
    unreported = decision.sample.unreported
    return f"; {counted(unreported, 'pod')} without a load report" if unreported else ""


def _clamped(spec: Autoscaling, replicas: int) -> int:
    return min(max(replicas, spec.min_replicas), spec.max_replicas)


def _since(past: tuple[ReplicaRecord, ...], since: float) -> tuple[ReplicaRecord, ...]:
    return tuple(one for one in past if one.at > since)
