"""Plays scenarios again and again, with the operator killed at another write each time."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, get_args

from builders import Object
from fake_api_server import Write
from fake_objects import ApiError, WatchEvent
from mistral_operator.kube import kinds, names
from operator_life import KEY, Life
from operator_scenarios import Scenario
from recorded_transitions import expected_events

When = Literal["before", "after"]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_UID = re.compile(r"00000000-0000-4000-8000-\d{12}")
_DROPPED = {"resourceVersion", "creationTimestamp"}
_COUNTERS = {"generation", "observedGeneration"}
"""Those of the children count the operator's writes, and one that was killed may write again."""


@dataclass
class Played:
    """One time that a scenario was played."""

    end: dict[str, Any]
    """Every object at the end, without uids, versions and times."""
    created: Counter[str]
    deleted: Counter[str]
    missing_events: Counter[str]
    """Reasons of recorded transitions without an Event."""
    extra_events: Counter[str]
    """Reasons of Events without a recorded transition of their own."""
    writes: list[Write] = field(default_factory=list)
    silent_writes: int = 0
    """Writes of the status that tell a user nothing."""
    undone: int = 0
    """Events about undone edits. A kill may lose one, but repeats none."""


async def differences(scenario: Scenario, make: Callable[[], Life]) -> list[str]:
    """Return where an operator that is killed at any write ends otherwise than one that is not."""
    rehearsal = Rehearsal(scenario, make)
    await rehearsal.prepare()
    reference = await rehearsal.play(idle=1300)
    problems = [*filter(None, [_difference(reference, reference)])]
    for number, write in enumerate(reference.writes, start=1):
        for when in get_args(When):
            try:
                problem = _difference(reference, await rehearsal.play(number, when))
            except AssertionError as error:
                problem = str(error)
            if problem:
                problems.append(f"killed {when} write {number}, {write}: {problem}")
    return problems


def _difference(reference: Played, played: Played) -> str:
    created = played.created - reference.created
    deleted = played.deleted - reference.deleted
    missing, extra = played.missing_events, played.extra_events
    parts = [f"misses Events {missing}"] * bool(missing)
    parts += [f"repeats Events {extra}"] * bool(extra)
    if played.undone > reference.undone:
        parts.append(f"reports {played.undone} undone edits of {reference.undone}")
    parts += [f"writes {played.silent_writes} statuses without news"] * bool(played.silent_writes)
    parts += [f"creates {created}"] * bool(created) + [f"deletes {deleted}"] * bool(deleted)
    for name in sorted({*reference.end, *played.end}):
        if reference.end.get(name) != played.end.get(name):
            parts.append(f"{name} is {played.end.get(name)}, not {reference.end.get(name)}")
    return "; ".join(parts)


class Rehearsal:
    """A scenario whose beginning was played once."""

    def __init__(self, scenario: Scenario, make: Callable[[], Life]) -> None:
        self._scenario = scenario
        self._make = make

    async def prepare(self) -> None:
        """Play what comes before the scenario."""
        life = self._make()
        life.activators, life.load = self._scenario.activators, self._scenario.load
        await life.start()
        if self._scenario.spec is not None:
            life.create(self._scenario.spec)
        await life.settle()
        self._objects = life.objects.snapshot()
        self._pods_made = life.workloads.pods_made

    async def play(self, kill_at: int = 0, when: When = "before", idle: float = 0.0) -> Played:
        """Play the scenario; the operator is killed before or after its write `kill_at`."""
        life = self._make()
        life.objects.restore(self._objects)
        life.activators, life.load = self._scenario.activators, self._scenario.load
        life.workloads.pods_made = self._pods_made
        await life.start()
        kill(life, kill_at, when)
        counts = event_counts(life)
        events, first = len(life.objects.feed), life.objects.find(kinds.RESOURCE, KEY)
        await self._scenario.act(life)
        assert life.reason() == self._scenario.reason, life.status
        writes = list(life.api.writes)
        if idle:
            await life.settle(idle)
            assert life.api.writes == writes, "an idle period costs nothing"
            life.kill()
            await life.settle()
            assert life.api.writes == writes, "a restart costs nothing"
        posted = counted_events(counts, life.objects.feed[events:])
        undone = posted.pop("EditUndone", 0)
        expected = expected_events(first, life.objects.feed[events:])
        feed = [one for one in life.objects.feed[events:] if one.kind != kinds.EVENT]
        return Played(
            content(life),
            Counter(one.kind.kind for one in feed if one.action == "ADDED"),
            Counter(one.kind.kind for one in feed if one.action == "DELETED"),
            expected - posted,
            posted - expected,
            writes,
            silent_writes(life.objects.feed[events:]),
            undone,
        )


def kill(life: Life, number: int, when: When) -> None:
    """Kill the operator before or after one of its next writes; 0 is none."""
    first = len(life.api.writes)

    async def before(_: Write) -> None:
        if len(life.api.writes) - first == number:
            life.kill()
            raise ApiError(503, "ServiceUnavailable", "its client is gone")

    async def after(_: Write) -> None:
        if len(life.api.writes) - first == number:
            life.kill()

    if when == "before":
        life.api.before_write = before
    else:
        life.api.after_write = after


def event_counts(life: Life) -> dict[str, int]:
    """Return the count of each Event by its name."""
    return {one["metadata"]["name"]: one["count"] for one in life.objects.all(kinds.EVENT)}


def counted_events(before: dict[str, int], feed: list[WatchEvent]) -> Counter[str]:
    """Return how often each reason was counted on Events, by their counts before and a feed."""
    counted: Counter[str] = Counter()
    counts = dict(before)
    for one in feed:
        if one.kind == kinds.EVENT and one.action != "DELETED":
            name, count = one.body["metadata"]["name"], one.body["count"]
            counted[one.body["reason"]] += count - counts.get(name, 0)
            counts[name] = count
    return counted


def silent_writes(feed: list[WatchEvent]) -> int:
    """Count the statuses that differ from the ones before in nothing that a user reads."""
    changed = [one for one in feed if one.kind == kinds.RESOURCE and one.action == "MODIFIED"]
    bodies = [one.body for one in changed if "status" in one.body]
    return sum(
        _without_status(one) == _without_status(before) and _news(one) == _news(before)
        for before, one in pairwise(bodies)
    )


def _news(body: Object) -> Object:
    status = {key: one for key, one in body["status"].items() if key != "lastUpdateTime"}
    oom = {key: one for key, one in status.get("oom", {}).items() if key != "counted"}
    return {**status, "oom": oom}


def _without_status(body: Object) -> Object:
    metadata = {key: one for key, one in body["metadata"].items() if key != "resourceVersion"}
    return {**body, "metadata": metadata, "status": {}}


def content(life: Life) -> dict[str, Any]:
    """Return every object but Events, without uids, versions and times."""
    return {
        f"{kind.kind} {key.name}": _plain(
            owned.body, _DROPPED | (_COUNTERS if kind != kinds.RESOURCE else set())
        )
        for (kind, key), owned in sorted(life.objects.stored.items(), key=str)
        if kind != kinds.EVENT
    }


def _plain(value: Any, dropped: set[str]) -> Any:
    if isinstance(value, dict):
        return {
            key: "digest" if key == names.ANNOTATION_APPLIED else _plain(one, dropped)
            for key, one in value.items()
            if key not in dropped
        }
    if isinstance(value, list):
        return [_plain(one, dropped) for one in value]
    return _UID.sub("uid", _TIME.sub("time", value)) if isinstance(value, str) else value
