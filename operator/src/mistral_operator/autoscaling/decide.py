"""One decision: how many replicas from now on, why, and on what grounds."""

import math
from dataclasses import dataclass, field, replace

from mistral_operator.api.autoscaling import Autoscaling, ScalingReason
from mistral_operator.autoscaling.behavior import Past, kept_seconds, limited, stabilized
from mistral_operator.autoscaling.load import Look
from mistral_operator.autoscaling.recommend import recommend
from mistral_operator.kube.plurals import counted


@dataclass(frozen=True, slots=True)
class Memory:
    """What the next decision has to know of the last ones."""

    replicas: int
    """Replicas that were decided on."""
    wanted: tuple[Past, ...] = ()
    changes: tuple[Past, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """A number of replicas, with its reason and what it was made of."""

    replicas: int
    reason: ScalingReason
    message: str = ""
    look: Look = field(default_factory=Look)
    target: int | None = None

    @property
    def load(self) -> int | None:
        """Productive requests in flight, None if nobody knows."""
        if not self.look.heard:
            return self.look.held or None
        if self.target is None:
            return None
        return round(self.look.demand(self.target))

    @property
    def frozen(self) -> bool:
        """More replicas are wanted and not added, because of loops."""
        return self.reason is ScalingReason.FROZEN


def begin(replicas: int, now: float) -> Memory:
    """Return the memory of somebody who knows only how many replicas there are.

    That many count as wanted now, so that a restart does not scale down before the window is over.
    """
    return Memory(replicas, (Past(now, replicas),))


def decide(
    spec: Autoscaling, memory: Memory, look: Look, target: int | None, now: float
) -> tuple[Decision, Memory]:
    """Return what to do, and what to remember of it.

    Args:
        spec: bounds and behavior.
        memory: of the decision before.
        look: what the pods say.
        target: requests in flight that a replica should have, None if that is not known.
        now: the time in seconds, on a clock that only goes forward.
    """
    current = memory.replicas
    wanted = _wanted(spec, current, look, target)
    since = now - kept_seconds(spec.behavior)
    remembered = (*_since(memory.wanted, since), Past(now, wanted.replicas))
    changes = _since(memory.changes, since)
    if current:
        goal = _clamped(spec, stabilized(remembered, current, spec.behavior, now))
    else:
        # Somebody waits: the window is for loads that come and go.
        goal = _clamped(spec, wanted.replicas)
    if spec.min_replicas <= current <= spec.max_replicas:
        first = min(goal, 1)
        goal = max(limited(goal, current, spec.behavior, changes, now), first)
    if goal != current:
        changes = (*changes, Past(now, goal - current))
    decision = replace(wanted, replicas=goal, reason=_reason(spec, wanted, current, goal))
    decision = replace(decision, message=_message(decision, current, wanted.replicas))
    return decision, Memory(goal, remembered, changes)


def _wanted(spec: Autoscaling, current: int, look: Look, target: int | None) -> Decision:
    """Return what the demand asks for now, whatever bounds and behavior say."""
    if not current or (look.idle and not spec.min_replicas):
        reason = ScalingReason.ON_TARGET if current or look.held else ScalingReason.ASLEEP
        return Decision(_waiting_for(look, target), reason, look=look, target=target)
    if not look.heard and not look.silent:
        asked = max(current, _waiting_for(look, target))
        reason = ScalingReason.ON_TARGET if asked > current else ScalingReason.NOT_READY
        return Decision(asked, reason, look=look, target=target)
    if target is None or not look.heard:
        # Not knowing counts as wanting what is there: silence must not end a window.
        return Decision(current, ScalingReason.NO_SIGNALS, look=look, target=target)
    asked = recommend(look, target, current, spec.tolerance)
    if asked > current and look.loop_share > spec.freeze_loop_share:
        return Decision(current, ScalingReason.FROZEN, look=look, target=target)
    return Decision(asked, ScalingReason.ON_TARGET, look=look, target=target)


def _waiting_for(look: Look, target: int | None) -> int:
    """Return the replicas that the held requests ask for; one, where nobody knows how many."""
    return math.ceil(look.held / (target or look.held or 1))


def _reason(spec: Autoscaling, wanted: Decision, current: int, goal: int) -> ScalingReason:
    if goal != current:
        return ScalingReason.SCALED_UP if goal > current else ScalingReason.SCALED_DOWN
    if wanted.reason is not ScalingReason.ON_TARGET:
        return wanted.reason
    if wanted.replicas > spec.max_replicas:
        return ScalingReason.AT_MAXIMUM
    if _clamped(spec, wanted.replicas) != current:
        return ScalingReason.STABILIZED
    return ScalingReason.ON_TARGET


def _message(decision: Decision, before: int, asked: int) -> str:
    if decision.reason is ScalingReason.NO_SIGNALS:
        return "no ready pod reports its load; replicas are unchanged"
    if decision.reason is ScalingReason.NOT_READY:
        return "no pod is ready; replicas are unchanged"
    if decision.reason is ScalingReason.ASLEEP:
        return "scaled to zero while idle; the next request starts a replica"
    after = counted(decision.replicas, "replica")
    change = f"from {before} to {after}: " * (decision.replicas != before)
    return change + _grounds(decision, asked) + _exception(decision)


def _grounds(decision: Decision, asked: int) -> str:
    look = decision.look
    if not look.heard:
        return f"{counted(look.held, 'request')} queued in the activator"
    if not asked:
        return "all replicas are idle"
    requests = counted(decision.load or 0, "productive request")
    return (
        f"{requests} in flight ({look.running} running, {look.waiting + look.held} waiting,"
        f" {look.looping} looping) need{'s' * (decision.load == 1)}"
        f" {'more than ' * decision.frozen}{counted(asked, 'replica')}"
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
    silent = decision.look.silent
    return f"; {counted(silent, 'pod')} without a load report" if silent else ""


def _clamped(spec: Autoscaling, replicas: int) -> int:
    return min(max(replicas, spec.min_replicas), spec.max_replicas)


def _since(past: tuple[Past, ...], since: float) -> tuple[Past, ...]:
    return tuple(one for one in past if one.at > since)
