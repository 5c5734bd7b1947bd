"""How long until a resource has been quiet for long enough? Pure."""

from datetime import datetime

from mistral_operator.api import ConditionType, Oom, Spec, Status
from mistral_operator.kube.timestamps import parse_time


def seconds_until_quiet(spec: Spec, status: Status, now: str) -> float | None:
    """Return the seconds until the quiet period is over, at most 0 if it is; None while not ready.

    The period runs from the latest of: every replica became ready, memory ran out, a change was
    made.
    """
    ready = next((one for one in status.conditions if one.type == ConditionType.READY), None)
    if ready is None or ready.status != "True":
        return None
    marks = [ready.last_transition_time, *_marks(status.oom)]
    moment = parse_time(now)
    # Nothing has happened in the future, so such a time is wrong.
    since = max((one for one in map(_time, marks) if one and one <= moment), default=moment)
    return spec.oom.quiet_seconds - (moment - since).total_seconds()


def is_watched(oom: Oom | None) -> bool:
    """Tell whether the end of the quiet period will change anything."""
    return oom is not None and oom.active is not None and not oom.stopped


def _marks(oom: Oom | None) -> list[str]:
    if oom is None:
        return []
    return [event.time for event in oom.events] + [step.time for step in oom.steps]


def _time(text: str) -> datetime | None:
    try:
        return parse_time(text)
    except ValueError:
        return None
