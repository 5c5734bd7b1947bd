"""Events on transitions: what changed between two statuses, for `kubectl describe`. Pure."""

import hashlib
from typing import Any

from mistral_operator.api import (
    AutoscalingStatus,
    Change,
    Condition,
    ConditionType,
    Oom,
    Reason,
    Resource,
    Status,
)
from mistral_operator.kube import names
from mistral_operator.status.memory import stopped_after

_TOLD = (ConditionType.READY, ConditionType.MODEL_FITS, ConditionType.SCALING_LIMITED)
"""Conditions whose changes are worth an Event; the others follow from these."""

_MAX_NOTE_BYTES = 1000
"""The API server refuses notes of more than 1024 bytes."""


def transition_events(
    resource: Resource, before: Status, after: Status, now: str
) -> list[dict[str, Any]]:
    """Return one Event for each told condition whose status or reason changed."""
    known = {one.type: one for one in before.conditions}
    return [
        _of_condition(resource, condition, now)
        for condition in after.conditions
        if condition.type in _TOLD and _changed(known.get(condition.type), condition)
    ]


def scaling_event(resource: Resource, scaling: AutoscalingStatus, now: str) -> dict[str, Any]:
    """Return the Event of another number of replicas."""
    return _event(
        resource,
        scaling.reason,
        f"Autoscaling: {scaling.message}",
        now,
        warning=False,
        identity=f"Autoscaling/{scaling.reason}",
    )


def memory_events(
    resource: Resource, before: Oom | None, after: Oom | None, now: str
) -> list[dict[str, Any]]:
    """Return an Event for each lack of memory and for each thing that was done about one."""
    old, new = before or Oom(), after or Oom()
    told = [
        (True, one.failure, f"pod {one.pod}: {one.evidence}")
        for one in new.events
        if one not in old.events
    ]
    told += [
        (False, _STEP_REASONS[one.outcome], _said(one)) for one in new.steps if one not in old.steps
    ]
    if new.recommendation is not None and new.recommendation != old.recommendation:
        told.append((False, "RemedyRecommended", _said(new.recommendation)))
    if new.stopped and not old.stopped:
        told.append((True, Reason.CRASH_LOOP, stopped_after(new)))
    return [
        _event(resource, reason, note, now, warning=warning, identity=f"{number}/{reason}")
        for number, (warning, reason, note) in enumerate(told)
    ]


_STEP_REASONS = {
    "Trying": "RemedyApplied",
    "Helped": "RemedyHelped",
    "Kept": "RemedyKept",
    "Reverted": "RemedyReverted",
}


def _said(change: Change) -> str:
    return f"{change.setting} {change.after} instead of {change.before}: {change.reason}"


def _changed(before: Condition | None, after: Condition) -> bool:
    if after.status == "False" and after.reason in _PASSING:
        return False
    if before is None:
        return after.status != "Unknown" and after.reason not in _NO_NEWS
    return (before.status, before.reason) != (after.status, after.reason)


def _of_condition(resource: Resource, condition: Condition, now: str) -> dict[str, Any]:
    bad = "True" if condition.type == ConditionType.SCALING_LIMITED else "False"
    return _event(
        resource,
        condition.reason,
        f"{condition.type}={condition.status}: {condition.message}",
        now,
        warning=condition.status == bad and condition.reason not in _EXPECTED,
        identity=f"{condition.type}/{condition.reason}",
    )


def _event(
    resource: Resource, reason: str, note: str, now: str, *, warning: bool, identity: str
) -> dict[str, Any]:
    # The name follows from what happened and when: telling it twice is refused as a conflict.
    suffix = hashlib.sha256(f"{resource.uid}/{identity}/{now}".encode()).hexdigest()[:16]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{resource.name}.{suffix}", "namespace": resource.namespace},
        "eventTime": now,
        "reportingController": names.FIELD_MANAGER,
        "reportingInstance": names.FIELD_MANAGER,
        "action": "Reconcile",
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "note": _shortened(note),
        "regarding": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": resource.name,
            "namespace": resource.namespace,
            "uid": resource.uid,
        },
    }


def _shortened(note: str) -> str:
    # The cut may fall into a character, whose rest is then dropped.
    return note.encode()[:_MAX_NOTE_BYTES].decode(errors="ignore")


_PASSING = {"Creating", "RollingOut"}
"""Reasons that hold for seconds and follow from what the user just did: no news."""

_NO_NEWS = {"WithinLimits"}
"""Reasons that are worth an Event only after another one."""

_EXPECTED = {"Creating", "Starting", "RollingOut", "FetchingModel", "Suspended", "ScaledToZero"}
"""Reasons for not being ready that need nobody's attention."""
