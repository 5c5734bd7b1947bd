"""Events on transitions: what changed between two statuses, for `kubectl describe`. Pure.

The name of an Event follows from its resource and from what happened, not from when and in which
words: the same again is the same Event with a higher count, as other controllers fold theirs. So a
resource has few Events, and no reason hides the others. Events are posted before the status that
records their transition, and an operator that takes over in between posts them again. The status
that a transition follows, in an annotation, tells such a repetition from another occurrence.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
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
from mistral_server.contract import public_text

_REPORTED = (
    ConditionType.READY,
    ConditionType.MODEL_FITS,
    ConditionType.SCALING_LIMITED,
    ConditionType.HOLDING,
    ConditionType.IMAGES_PULLED,
    ConditionType.CACHE_BOUND,
    ConditionType.ROUTER_READY,
)
"""Conditions whose changes are worth an Event; the others follow from these."""

_MAX_NOTE_BYTES = 1000
"""The API server refuses notes of more than 1024 bytes."""


def transition_events(
    resource: Resource, before: Status, after: Status, now: str
) -> list[dict[str, Any]]:
    """Return one Event for each reported condition whose status or reason changed."""
    previous = {one.type: one for one in before.conditions}
    return [
        _of_condition(resource, condition, _moment(before, now))
        for condition in after.conditions
        if condition.type in _REPORTED and _changed(previous.get(condition.type), condition)
    ]


def scaling_event(
    resource: Resource, before: Status, scaling: AutoscalingStatus, now: str
) -> dict[str, Any]:
    """Return the Event of another number of replicas."""
    return _event(
        resource,
        scaling.reason,
        f"Autoscaling: {scaling.message}",
        _moment(before, now),
        warning=False,
        identity=f"Autoscaling/{scaling.reason}",
    )


def memory_events(
    resource: Resource, before: Status, after: Oom | None, now: str
) -> list[dict[str, Any]]:
    """Return an Event for each memory failure and for each change that it led to.

    Changes of different settings are different Events: all of them are in force.
    """
    old, new, moment = before.oom or Oom(), after or Oom(), _moment(before, now)

    def event(reason: str, note: str, *, warning: bool, of: str = "") -> dict[str, Any]:
        identity = f"{reason}/{of}" if of else reason
        return _event(resource, reason, note, moment, warning=warning, identity=identity)

    events = [
        event(one.failure, f"pod {one.pod}: {one.evidence}", warning=True)
        for one in new.events
        if one not in old.events
    ]
    events += [
        event(_STEP_REASONS[one.outcome], _note(one), warning=False, of=one.setting)
        for one in new.steps
        if one not in old.steps
    ]
    advice = new.recommendation
    if advice is not None and advice != old.recommendation:
        events.append(event("RemedyRecommended", _note(advice), warning=False, of=advice.setting))
    if new.stopped and not old.stopped:
        events.append(event(Reason.CRASH_LOOP, stopped_after(new), warning=True))
    return _counted(events)


def _counted(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one Event for those of one name: the last one, with the number of all."""
    by_name: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in events:
        by_name[one["metadata"]["name"]].append(one)
    return [_of_all(same) for same in by_name.values()]


def _of_all(same: list[dict[str, Any]]) -> dict[str, Any]:
    last, number = same[-1], len(same)
    follows = last["metadata"]["annotations"][names.ANNOTATION_FOLLOWS].removesuffix("1")
    annotations = {names.ANNOTATION_FOLLOWS: f"{follows}{number}"}
    return {**last, "metadata": {**last["metadata"], "annotations": annotations}, "count": number}


def undone_event(resource: Resource, note: str, version: str, now: str) -> dict[str, Any]:
    """Return the Event of an edit of a child that was undone.

    Args:
        resource: the owner of the child.
        note: what was undone, and what to edit instead.
        version: of the edited child: each edit has one Event.
        now: the time.
    """
    moment = _Moment(now, version)
    return _event(
        resource, "EditUndone", note, moment, warning=False, identity=f"EditUndone/{note}"
    )


@dataclass(frozen=True, slots=True)
class _Moment:
    """When something happened: now, and after which status."""

    now: str
    follows: str
    """When the status was written that the transition starts from, or the version of an edit."""


def _moment(before: Status, now: str) -> _Moment:
    return _Moment(now, before.last_update_time or "")


_STEP_REASONS = {
    "Trying": "RemedyApplied",
    "Helped": "RemedyHelped",
    "Kept": "RemedyKept",
    "Reverted": "RemedyReverted",
}


def _note(change: Change) -> str:
    return f"{change.setting} {change.after} instead of {change.before}: {change.reason}"


def _changed(before: Condition | None, after: Condition) -> bool:
    if after.status == "False" and after.reason in _PASSING:
        return False
    if after.type == ConditionType.CACHE_BOUND and after.status == "False":
        return False  # every new claim begins so; if it stays so, Ready says it
    if before is None:
        return after.status != "Unknown" and after.reason not in _NO_NEWS
    return (before.status, before.reason) != (after.status, after.reason)


def _of_condition(resource: Resource, condition: Condition, moment: _Moment) -> dict[str, Any]:
    bad = "True" if condition.type == ConditionType.SCALING_LIMITED else "False"
    return _event(
        resource,
        condition.reason,
        f"{condition.type}={condition.status}: {condition.message}",
        moment,
        warning=condition.reason in _DOUBTFUL
        or (condition.status == bad and condition.reason not in _EXPECTED),
        identity=f"{condition.type}/{condition.status}/{condition.reason}",
    )


def _event(
    resource: Resource, reason: str, note: str, moment: _Moment, *, warning: bool, identity: str
) -> dict[str, Any]:
    suffix = hashlib.sha256(f"{resource.uid}/{identity}".encode()).hexdigest()[:16]
    return {
        # kubectl sorts by lastTimestamp, which the API server accepts in this version only.
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{resource.name}.{suffix}",
            "namespace": resource.namespace,
            "annotations": {names.ANNOTATION_FOLLOWS: f"{moment.follows}/1"},
        },
        "firstTimestamp": moment.now,
        "lastTimestamp": moment.now,
        "count": 1,
        "eventTime": moment.now,
        "source": {"component": names.FIELD_MANAGER},
        "reportingComponent": names.FIELD_MANAGER,
        "reportingInstance": names.FIELD_MANAGER,
        "action": "Reconcile",
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": _shortened(note),
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": resource.name,
            "namespace": resource.namespace,
            "uid": resource.uid,
        },
    }


def _shortened(note: str) -> str:
    # The cut may fall into a character, whose rest is then dropped.
    line = public_text(note, _MAX_NOTE_BYTES)
    return line.encode()[:_MAX_NOTE_BYTES].decode(errors="ignore")


_PASSING = {"Creating", "RollingOut", "Prepulling"}
"""Reasons that pass by themselves and follow from what the user just did: no news."""

_NO_NEWS = {"WithinLimits", "Bound"}
"""Reasons that are worth an Event only after another one."""

_DOUBTFUL = {"OneNode", "CacheTooSmall"}
"""Reasons of conditions that hold, and that may be a mistake all the same."""

_EXPECTED = {
    "Creating", "Starting", "ScalingUp", "RollingOut", "FetchingModel", "Suspended", "ScaledToZero",
    "Prefetching",
}  # fmt: skip
"""Reasons for not being ready that need no attention."""
