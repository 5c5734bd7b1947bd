"""The condition OutOfMemory: what ran out, and what is done about it or should be."""

import pytest

from builders import NOW, ready_pod, signal
from mistral_operator.api import (
    Change,
    ConditionType,
    Oom,
    OomEvent,
    Overrides,
    Reason,
    Status,
    Step,
)
from mistral_operator.status import Situation, report
from status_inputs import condition, heard, previously, remembering, said, situation

SEEN = OomEvent(failure="KVCacheTooSmall", pod="small-1", evidence="1344 is what fits.")
CHANGE = Change(
    setting="spec.engine.contextLength", before="8192", after="1344", reason="that many fit"
)
TRYING = Step(**CHANGE.model_dump(), failure="KVCacheTooSmall", time=NOW)
HELPED = TRYING.model_copy(update={"outcome": "Helped"})
REVERTED = TRYING.model_copy(update={"outcome": "Reverted"})
ACTIVE = Oom(events=[SEEN], active="KVCacheTooSmall")

CASES: dict[str, tuple[Oom | None, str, str, list[str]]] = {
    "nothing ever happened": (
        None,
        "False",
        Reason.MEMORY_SUFFICES,
        ["no unresolved out-of-memory failure"],
    ),
    "it is over": (
        Oom(events=[SEEN]),
        "False",
        Reason.MEMORY_SUFFICES,
        ["no unresolved out-of-memory failure"],
    ),
    "something is recommended": (
        ACTIVE.model_copy(update={"recommendation": CHANGE}),
        "True",
        "KVCacheTooSmall",
        [
            "pod small-1: 1344 is what fits",
            "Set spec.engine.contextLength to 1344 (currently 8192)",
        ],
    ),
    "something is tried": (
        ACTIVE.model_copy(update={"steps": [TRYING]}),
        "True",
        "KVCacheTooSmall",
        ["Trying spec.engine.contextLength 1344 instead of 8192: that many fit"],
    ),
    "nothing is left to try": (
        ACTIVE.model_copy(update={"steps": [REVERTED], "exhausted": True}),
        "True",
        "KVCacheTooSmall",
        [
            "All changes within the limits of spec.oom have been tried",
            "spec.engine.contextLength 1344 (reverted)",
        ],
    ),
    "it is only observed": (ACTIVE, "True", "KVCacheTooSmall", ["Set spec.engine.contextLength"]),
    "a change has helped": (
        Oom(events=[SEEN], steps=[HELPED], overrides=Overrides(context_length=1344)),
        "False",
        Reason.REMEDIED,
        ["spec.engine.contextLength 1344", "set this in the spec to keep it"],
    ),
    "it fails for something else than memory": (
        Oom(active="NotWritable"),
        "False",
        Reason.MEMORY_SUFFICES,
        [],
    ),
}


@pytest.mark.parametrize(("oom", "status", "reason", "fragments"), CASES.values(), ids=CASES.keys())
def test_the_condition_says_what_ran_out_and_what_is_done(
    oom: Oom | None, status: str, reason: str, fragments: list[str]
) -> None:
    case = situation() if oom is None else remembering(situation(), oom)

    found = said(report(case, NOW), ConditionType.OUT_OF_MEMORY)

    assert (found.status, found.reason) == (status, reason)
    for fragment in fragments:
        assert fragment in found.message


def pressed(*, high: bool) -> Situation:
    return heard(situation(ready_pod()), small_1=signal(kv_pressure=high))


def test_a_cache_that_is_too_small_for_the_load_is_a_soft_lack_of_memory() -> None:
    found = said(report(pressed(high=True), NOW), ConditionType.OUT_OF_MEMORY)

    assert (found.status, found.reason) == ("True", "KVPressure")
    assert "raise spec.replicas" in found.message


def test_it_stands_until_the_operator_hears_again() -> None:
    before = Status(conditions=[condition(ConditionType.OUT_OF_MEMORY, "True")])
    before.conditions[0] = before.conditions[0].model_copy(update={"reason": "KVPressure"})
    silent = previously(situation(ready_pod()), before)
    calm = previously(pressed(high=False), before)

    assert said(report(silent, NOW), ConditionType.OUT_OF_MEMORY).status == "True"
    assert said(report(calm, NOW), ConditionType.OUT_OF_MEMORY).status == "False"
