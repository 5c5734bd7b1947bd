"""Which Events the recorded statuses of a resource call for, by the feed of the API server."""

from collections import Counter
from collections.abc import Iterable, Iterator

from builders import Object
from fake_objects import WatchEvent
from mistral_operator.kube import kinds

_TYPES = ("Ready", "ModelFits", "ScalingLimited", "Holding", "ImagesPulled")
_PASSING = {"Creating", "RollingOut", "Prepulling"}
_OUTCOMES = {
    "Trying": "RemedyApplied",
    "Helped": "RemedyHelped",
    "Kept": "RemedyKept",
    "Reverted": "RemedyReverted",
}


def expected_events(first: Object | None, feed: Iterable[WatchEvent]) -> Counter[str]:
    """Return how often each reason has to be posted, by what docs/status.md and memory.md say.

    Args:
        first: the resource before the feed begins, None if there was none.
        feed: everything that happened since.
    """
    statuses: dict[str, Object] = {}
    if first is not None:
        statuses[first["metadata"]["uid"]] = first.get("status", {})
    expected: Counter[str] = Counter()
    for event in feed:
        if event.kind == kinds.RESOURCE:
            uid, after = event.body["metadata"]["uid"], event.body.get("status", {})
            before = statuses.get(uid, {})
            expected.update(_conditions(before, after))
            expected.update(_memory(before, after))
            expected.update(_scaling(before, after))
            statuses[uid] = after
    return expected


def _conditions(before: Object, after: Object) -> Iterator[str]:
    previous = {one["type"]: (one["status"], one["reason"]) for one in before.get("conditions", ())}
    for one in after.get("conditions", ()):
        status, reason = one["status"], one["reason"]
        if one["type"] not in _TYPES or (status == "False" and reason in _PASSING):
            continue
        is_first = one["type"] not in previous
        if is_first and (status == "Unknown" or reason == "WithinLimits"):
            continue
        if previous.get(one["type"]) != (status, reason):
            yield reason


def _memory(before: Object, after: Object) -> Iterator[str]:
    old, new = before.get("oom", {}), after.get("oom", {})
    yield from (one["class"] for one in new.get("events", ()) if one not in old.get("events", ()))
    for step in new.get("steps", ()):
        if step not in old.get("steps", ()):
            yield _OUTCOMES[step["outcome"]]
    if new.get("recommendation") not in (None, old.get("recommendation")):
        yield "RemedyRecommended"
    if new.get("stopped") and not old.get("stopped"):
        yield "CrashLoop"


def _scaling(before: Object, after: Object) -> Iterator[str]:
    old, new = before.get("autoscaling"), after.get("autoscaling")
    if old and new and old["replicas"] != new["replicas"]:
        yield new["reason"]
