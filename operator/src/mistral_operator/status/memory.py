"""The condition OutOfMemory: what ran out, and what is done about it or should be."""

from typing import Literal

from mistral_operator.api import ConditionType, Oom, Reason, Step
from mistral_operator.oom.failures import advice
from mistral_operator.status.status_input import StatusInput
from mistral_server.contract import KV_PRESSURE, MEMORY_FAILURES

ConditionValue = tuple[Literal["True", "False"], str, str]


def memory(status_input: StatusInput) -> ConditionValue:
    """Return status, reason and message of OutOfMemory."""
    oom = status_input.oom
    if oom is not None and oom.active in MEMORY_FAILURES and oom.active is not None:
        return "True", oom.active, f"{_what(oom)}. {what_is_done(oom)}"
    if _pressed(status_input):
        return "True", KV_PRESSURE, _pressure(status_input)
    if oom is not None and oom.overrides is not None:
        return "False", Reason.REMEDIED, _remedied(oom)
    return "False", Reason.MEMORY_SUFFICES, "no unresolved out-of-memory failure"


def what_is_done(oom: Oom) -> str:
    """Say what is tried, or should be changed."""
    last = oom.steps[-1] if oom.steps else None
    if oom.exhausted:
        return f"{_tried(oom.steps)} {advice(oom.active or '')}"
    if last is not None and last.outcome == "Trying":
        return f"Trying {last.setting} {last.after} instead of {last.before}: {last.reason}."
    if oom.recommendation is not None:
        change = oom.recommendation
        return (
            f"Set {change.setting} to {change.after} (currently {change.before}), or"
            f" spec.oom.policy to Apply: {change.reason}."
        )
    return advice(oom.active or "")


def stopped_after(oom: Oom) -> str:
    """Say why no replica runs."""
    if oom.streak == 1:
        return f"stopped after a {oom.active} failure to free its GPUs"
    return f"stopped after {oom.streak} consecutive {oom.active} failures to free its GPUs"


def _what(oom: Oom) -> str:
    event = next((one for one in reversed(oom.events) if one.failure == oom.active), None)
    if event is None:
        return f"{oom.active}"
    return f"pod {event.pod}: {event.evidence.rstrip('.')}"


def _tried(steps: list[Step]) -> str:
    if not steps:
        return "No change within the limits of spec.oom can fix it."
    tried = "; ".join(f"{one.setting} {one.after} ({one.outcome.lower()})" for one in steps)
    return f"All changes within the limits of spec.oom have been tried: {tried}."


def _remedied(oom: Oom) -> str:
    settings = {one.setting: one for one in oom.steps if one.outcome != "Reverted"}
    running = ", ".join(f"{one.setting} {one.after}" for one in settings.values())
    return f"running with {running}: set this in the spec to keep it"


def _pressure(status_input: StatusInput) -> str:
    return (
        "the KV cache is full, and preempted requests lose their progress:"
        f" {_more_replicas(status_input)}, or lower spec.engine.maxSequences or contextLength"
    )


def _more_replicas(status_input: StatusInput) -> str:
    """Return how to get more replicas. Autoscaling replaces an edit of spec.replicas."""
    autoscaling, deployment = (
        status_input.resource.spec.autoscaling,
        status_input.observed.deployment,
    )
    if autoscaling is None or autoscaling.driver == "External":
        return "raise spec.replicas"
    if deployment is not None and deployment.desired >= autoscaling.max_replicas:
        return f"raise spec.autoscaling.maxReplicas (currently {autoscaling.max_replicas})"
    if autoscaling.target_in_flight is None:
        return "set spec.autoscaling.targetInFlight to fewer requests per replica"
    return f"lower spec.autoscaling.targetInFlight (currently {autoscaling.target_in_flight})"


def _pressed(status_input: StatusInput) -> bool:
    signals = [status_input.observed.signal(pod) for pod in status_input.observed.pods if pod.ready]
    reporting = [one for one in signals if one is not None]
    if reporting:
        return any(one.kv_pressure for one in reporting)
    # An operator that has just started has not polled the pods yet: their last report is kept.
    previous = status_input.previous_condition(ConditionType.OUT_OF_MEMORY)
    return previous is not None and previous.reason == KV_PRESSURE
