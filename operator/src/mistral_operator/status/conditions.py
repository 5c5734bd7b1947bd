"""From a verdict to conditions, with the transition times that they had."""

from datetime import timedelta
from typing import Literal

from mistral_operator.api import Condition, ConditionType, Reason
from mistral_operator.api.status import MAX_MESSAGE
from mistral_operator.kube.plurals import counted
from mistral_operator.kube.timestamps import parse_time
from mistral_operator.status.cache import cache_bound
from mistral_operator.status.hold import holding
from mistral_operator.status.memory import memory
from mistral_operator.status.model_fits import FitVerdict
from mistral_operator.status.prepull import images_pulled
from mistral_operator.status.router import router_ready
from mistral_operator.status.scaling import scaling_limits
from mistral_operator.status.status_input import StatusInput
from mistral_operator.status.verdict import Outlook, Verdict
from mistral_server.contract import public_text

_CLOCKS_DIFFER = timedelta(minutes=10)
"""More than the clocks of two replicas of the operator may differ."""

ConditionStatus = Literal["True", "False", "Unknown"]


def conditions(
    status_input: StatusInput, verdict: Verdict, fits: FitVerdict, now: str
) -> list[Condition]:
    """Return every condition of a resource."""
    values = [
        (ConditionType.READY, *_ready(verdict)),
        (ConditionType.AVAILABLE, *_available(status_input)),
        (ConditionType.PROGRESSING, *_progressing(status_input, verdict)),
        (ConditionType.MODEL_FITS, fits.status, fits.reason, fits.message),
        (ConditionType.OUT_OF_MEMORY, *memory(status_input)),
        (ConditionType.DEGRADED, *_degraded(verdict)),
    ]
    limits = scaling_limits(status_input)
    if limits is not None:
        values.append((ConditionType.SCALING_LIMITED, limits.status, limits.reason, limits.message))
    held = holding(status_input.resource, status_input.hold)
    if held is not None:
        values.append((ConditionType.HOLDING, *held))
    pulled = images_pulled(status_input.resource, status_input.prepull)
    if pulled is not None:
        values.append((ConditionType.IMAGES_PULLED, *pulled))
    cache = cache_bound(status_input)
    if cache is not None:
        values.append((ConditionType.CACHE_BOUND, *cache))
    router = router_ready(status_input)
    if router is not None:
        values.append((ConditionType.ROUTER_READY, *router))
    return [
        _condition(status_input, kind, status, reason, message, now)
        for kind, status, reason, message in values
    ]


def _ready(verdict: Verdict) -> tuple[ConditionStatus, Reason, str]:
    good = verdict.reason in {Reason.READY, Reason.ASLEEP}
    status: ConditionStatus = "True" if good else "False"
    return status, verdict.reason, verdict.message


def _available(status_input: StatusInput) -> tuple[ConditionStatus, Reason, str]:
    facts = status_input.observed.deployment
    ready = facts.ready if facts else 0
    if ready:
        replicas = counted(facts.desired if facts else 0, "replica")
        return "True", Reason.AVAILABLE, f"{ready} of {replicas} ready"
    return "False", Reason.UNAVAILABLE, "no replica is ready"


def _progressing(
    status_input: StatusInput, verdict: Verdict
) -> tuple[ConditionStatus, Reason, str]:
    facts = status_input.observed.deployment
    if verdict.outlook is Outlook.GOOD and facts is not None and facts.keeps_old_pods:
        message = "an edit of the pods waits: set spec.rollout.paused to false to roll it out"
        return "False", Reason.PAUSED, message
    match verdict.outlook:
        case Outlook.WAITING:
            return "True", verdict.reason, verdict.message
        case Outlook.STUCK:
            return "False", Reason.BLOCKED, f"resolve {verdict.reason} first"
        case Outlook.GOOD:
            return "False", Reason.COMPLETE, "the rollout is complete"


def _degraded(verdict: Verdict) -> tuple[ConditionStatus, Reason, str]:
    if verdict.outlook is Outlook.STUCK:
        return "True", verdict.reason, verdict.message
    return "False", Reason.HEALTHY, "nothing needs attention"


def _condition(
    status_input: StatusInput,
    kind: ConditionType,
    status: ConditionStatus,
    reason: str,
    message: str,
    now: str,
) -> Condition:
    before = status_input.previous_condition(kind)
    # The time says when the status changed, not when it was last looked at.
    kept = before is not None and before.status == status and not _is_ahead(before, now)
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=shortened(message),
        observed_generation=status_input.resource.generation,
        last_transition_time=before.last_transition_time if kept and before else now,
    )


def _is_ahead(condition: Condition, now: str) -> bool:
    """Tell whether a transition is said to be in the future, by more than clocks may differ."""
    text = condition.last_transition_time
    return not text or parse_time(text) - parse_time(now) > _CLOCKS_DIFFER


def shortened(message: str) -> str:
    """Return a message that quotes other processes as one line of readable length."""
    return public_text(message, MAX_MESSAGE)
