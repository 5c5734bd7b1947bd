"""One step at a time: what to remember, what to change, when to give up. Pure.

A change is evaluated by failures of pods that had it, and by nothing else. If the same class comes
back, the change is reverted and the next one is tried. If another class comes, the change is kept
and the ladder of that class goes on from there. If every replica is ready for a quiet period, it
has helped. No settings are tried twice and the number of steps is bounded, so this always
ends: with an endpoint that works, or with the settings that were last seen to work and nothing left
to try.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mistral_operator.api import Change, Oom, Overrides, Resource, Spec, Step
from mistral_operator.oom.counting import record
from mistral_operator.oom.failures import Failure
from mistral_operator.oom.ladder import Rung, rungs, should_retry_unchanged
from mistral_operator.oom.overrides import (
    effective_resource,
    overrides_of,
    with_overrides,
    without_spec_values,
)
from mistral_server.contract import MEMORY_FAILURES, FailureClass

REPEATING = frozenset(
    {
        FailureClass.KV_CACHE_TOO_SMALL,
        FailureClass.KV_CACHE_NONE,
        FailureClass.CUDA_OOM_LOAD,
        FailureClass.CUDA_OOM_WARMUP,
        FailureClass.SHM_EXHAUSTED,
        FailureClass.NOT_WRITABLE,
        FailureClass.INVALID_CONFIGURATION,
        FailureClass.INCOMPATIBLE_VERSIONS,
        FailureClass.GPU_UNSUPPORTED,
        FailureClass.MODEL_DAMAGED,
    }
)
"""Classes that another start of the same settings meets again. A model that is not there may come,
a neighbor on the GPU may leave."""


@dataclass(frozen=True, slots=True)
class RemedyInputs:
    """What a decision depends on beside the resource and the history."""

    failures: Sequence[Failure]
    """Every explained failure that is visible, or was on a deleted pod; the oldest first."""
    configuration: str
    """Digest of the settings in force, as pods with them carry it."""
    ready: bool = False
    """A replica is ready, by the same objects that the failures are from."""
    quiet: bool = False
    """Every replica has been ready for the quiet period."""
    now: str = ""


def decide(resource: Resource, before: Oom | None, inputs: RemedyInputs) -> Oom | None:
    """Return the history after what was seen; None while there never was anything to remember."""
    spec = resource.spec
    history = _of_this_spec(before or Oom(), spec)
    relevant = [one for one in inputs.failures if _matters(history, one)]
    if before is None and not relevant:
        return None
    history, new = record(history, relevant)
    if inputs.quiet and not new:
        history = _mark_resolved(history)
    for failure in new:
        if failure.configuration != inputs.configuration:
            continue  # settings that are not in force any more, or not yet known to be
        changed = _evaluate(history, spec, failure, inputs)
        done = changed.overrides != history.overrides or changed.stopped
        history = changed
        if done:
            break  # the other failures had the settings that have just been replaced
    return history


def settings_in_force(resource: Resource, before: Oom | None) -> Resource:
    """Return a resource as it runs now, before anything new is decided."""
    if before is None:
        return resource
    return effective_resource(resource, _of_this_spec(before, resource.spec))


def spec_digest(spec: Spec) -> str:
    """Return a digest of what a user decided. How many replicas is another matter."""
    text = spec.model_dump_json(exclude={"replicas", "autoscaling"}, exclude_defaults=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _matters(history: Oom, failure: Failure) -> bool:
    if failure.failure in MEMORY_FAILURES | REPEATING or failure.identity in history.counted:
        return True
    # An unknown failure to start that comes with a change may come of it.
    return failure.failure is FailureClass.START_FAILED and _trying(history) is not None


def _trying(history: Oom) -> Step | None:
    last = history.steps[-1] if history.steps else None
    return last if last is not None and last.outcome == "Trying" else None


def _of_this_spec(history: Oom, spec: Spec) -> Oom:
    """Forget what was tried if the spec was edited since; the counts stay."""
    digest = spec_digest(spec)
    if history.configuration == digest:
        return history
    kept = {"totals": history.totals, "events": history.events, "counted": history.counted}
    return Oom(configuration=digest).model_copy(update=kept)


def _mark_resolved(history: Oom) -> Oom:
    """The endpoint works: what was tried last has helped."""
    if history.active is None:
        return history
    steps = [
        one.model_copy(update={"outcome": "Helped"}) if one.outcome in {"Trying", "Kept"} else one
        for one in history.steps
    ]
    return history.model_copy(update={"steps": steps, "active": None, "streak": 0})


def _evaluate(history: Oom, spec: Spec, failure: Failure, inputs: RemedyInputs) -> Oom:
    """Take one failure of the settings in force into account."""
    streak = history.streak + 1 if history.active in {None, failure.failure} else 1
    if inputs.ready and failure.failure in REPEATING:
        # Another replica answers with these settings, or this one does again: a start succeeded.
        streak = 0
    history = history.model_copy(update={"active": failure.failure.value, "streak": streak})
    trying = _trying(history)
    if failure.failure not in MEMORY_FAILURES and trying is not None:
        # The change broke something else: it is as good as one that did not help.
        failure = replace(failure, failure=FailureClass(trying.failure), phase="", suggest={})
    if failure.failure in MEMORY_FAILURES and spec.oom.policy != "Observe":
        history = _remediate(history, spec, failure, inputs.now)
    return _give_up(history, spec, failure)


def _remediate(history: Oom, spec: Spec, failure: Failure, now: str) -> Oom:
    applying = spec.oom.policy == "Apply"
    if applying:
        history = _outcome(history, failure)
    rung = _next_rung(history, spec, failure)
    if not applying:
        return history.model_copy(
            update={"recommendation": None if rung is None else _change(rung)}
        )
    if history.exhausted or should_retry_unchanged(failure, history.streak):
        return history
    if rung is None or len(history.steps) >= spec.oom.max_steps:
        return _revert_all(history)
    return _step(history, spec, rung, failure, now)


def _outcome(history: Oom, failure: Failure) -> Oom:
    """Record the outcome of the step that was being tried."""
    last = _trying(history)
    if last is None:
        return history
    helped_not = last.failure == failure.failure
    done = last.model_copy(update={"outcome": "Reverted" if helped_not else "Kept"})
    overrides = _without(history, last) if helped_not else history.overrides
    return history.model_copy(update={"steps": [*history.steps[:-1], done], "overrides": overrides})


def _without(history: Oom, step: Step) -> Overrides | None:
    """Return the overrides as they were before a step."""
    standing = [one for one in history.steps[:-1] if one.outcome in {"Helped", "Kept"}]
    return overrides_of(standing)


def _next_rung(history: Oom, spec: Spec, failure: Failure) -> Rung | None:
    """Return the first change that leads to settings which were not tried yet."""
    effective = spec if history.overrides is None else with_overrides(spec, history.overrides)
    tried = {_digest(None), *history.tried}
    for rung in rungs(effective, failure, history.streak):
        if _digest(_with(spec, history.overrides, rung)) not in tried:
            return rung
    return None


def _with(spec: Spec, overrides: Overrides | None, rung: Rung) -> Overrides:
    """Return overrides with one more, without those that say what the spec says itself."""
    changed = (overrides or Overrides()).model_copy(update={rung.key: rung.value})
    return without_spec_values(spec, changed)


def _digest(overrides: Overrides | None) -> str:
    text = (overrides or Overrides()).model_dump_json(exclude_none=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _change(rung: Rung) -> Change:
    return Change(setting=rung.setting, before=rung.before, after=rung.after, reason=rung.reason)


def _step(history: Oom, spec: Spec, rung: Rung, failure: Failure, now: str) -> Oom:
    overrides = _with(spec, history.overrides, rung)
    step = Step(**_change(rung).model_dump(), failure=failure.failure.value, time=now)
    return history.model_copy(
        update={
            "steps": [*history.steps, step],
            "overrides": overrides,
            "tried": [*history.tried, _digest(overrides)],
            "streak": 0,
        }
    )


def _revert_all(history: Oom) -> Oom:
    """Nothing is left to try: go back to what was last seen to work."""
    steps = [
        one.model_copy(update={"outcome": "Reverted"}) if one.outcome in {"Trying", "Kept"} else one
        for one in history.steps
    ]
    standing = overrides_of([one for one in steps if one.outcome == "Helped"])
    return history.model_copy(update={"steps": steps, "overrides": standing, "exhausted": True})


def _give_up(history: Oom, spec: Spec, failure: Failure) -> Oom:
    """Stop an endpoint whose start cannot succeed, so that it holds no GPUs."""
    remediating = (
        spec.oom.policy == "Apply" and failure.failure in MEMORY_FAILURES and not history.exhausted
    )
    limit = spec.oom.stop_after * max(1, spec.replicas)
    hopeless = failure.failure in REPEATING and not remediating
    if hopeless and limit and history.streak >= limit:
        return history.model_copy(update={"stopped": True})
    return history
