"""The condition OutOfMemory: what ran out, and what is done about it or should be."""

import pytest

from builders import NOW, ready_pod, signal
from mistral_operator.api import (
    ConditionType,
    Oom,
    Status,
)
from mistral_operator.status import StatusInput, report
from status_inputs import condition, heard, previously, remembering, said, status_input
from status_memory_cases import MEMORY_CASES


@pytest.mark.parametrize(
    ("oom", "status", "reason", "fragments"), MEMORY_CASES.values(), ids=MEMORY_CASES.keys()
)
def test_the_condition_says_what_ran_out_and_what_is_done(
    oom: Oom | None, status: str, reason: str, fragments: list[str]
) -> None:
    case = status_input() if oom is None else remembering(status_input(), oom)

    found = said(report(case, NOW), ConditionType.OUT_OF_MEMORY)

    assert (found.status, found.reason) == (status, reason)
    for fragment in fragments:
        assert fragment in found.message


def pressed(*, high: bool) -> StatusInput:
    return heard(status_input(ready_pod()), small_1=signal(kv_pressure=high))


def test_a_cache_that_is_too_small_for_the_load_is_a_soft_lack_of_memory() -> None:
    found = said(report(pressed(high=True), NOW), ConditionType.OUT_OF_MEMORY)

    assert (found.status, found.reason) == ("True", "KVPressure")
    assert "raise spec.replicas" in found.message


def test_it_stands_until_the_operator_hears_again() -> None:
    before = Status(conditions=[condition(ConditionType.OUT_OF_MEMORY, "True")])
    before.conditions[0] = before.conditions[0].model_copy(update={"reason": "KVPressure"})
    silent = previously(status_input(ready_pod()), before)
    calm = previously(pressed(high=False), before)

    assert said(report(silent, NOW), ConditionType.OUT_OF_MEMORY).status == "True"
    assert said(report(calm, NOW), ConditionType.OUT_OF_MEMORY).status == "False"
