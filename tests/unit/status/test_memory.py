"""The condition OutOfMemory: what ran out, and what is done about it or should be."""

import pytest

from builders import NOW, Object, deployment_body, ready_pod, signal
from mistral_operator.api import (
    ConditionType,
    Oom,
    Status,
)
from mistral_operator.status import StatusInput, report
from status_inputs import (
    condition,
    condition_of,
    previously,
    remembering,
    status_input,
    with_signals,
)
from status_memory_cases import MEMORY_CASES


@pytest.mark.parametrize(
    ("oom", "status", "reason", "fragments"), MEMORY_CASES.values(), ids=MEMORY_CASES.keys()
)
def test_the_condition_says_what_ran_out_and_what_is_done(
    oom: Oom | None, status: str, reason: str, fragments: list[str]
) -> None:
    case = status_input() if oom is None else remembering(status_input(), oom)

    reported = condition_of(report(case, NOW), ConditionType.OUT_OF_MEMORY)

    assert (reported.status, reported.reason) == (status, reason)
    for fragment in fragments:
        assert fragment in reported.message


def pressed(*, high: bool) -> StatusInput:
    return with_signals(status_input(ready_pod()), small_1=signal(kv_pressure=high))


def test_a_cache_that_is_too_small_for_the_load_is_kv_pressure() -> None:
    reported = condition_of(report(pressed(high=True), NOW), ConditionType.OUT_OF_MEMORY)

    assert (reported.status, reported.reason) == ("True", "KVPressure")
    assert "raise spec.replicas" in reported.message


@pytest.mark.parametrize(
    ("autoscaling", "replicas", "remedy"),
    [
        ({"driver": "External"}, 4, "raise spec.replicas"),
        ({}, 4, "raise spec.autoscaling.maxReplicas (currently 4)"),
        ({"driver": "KEDA"}, 4, "raise spec.autoscaling.maxReplicas (currently 4)"),
        ({}, 3, "set spec.autoscaling.targetInFlight to fewer requests per replica"),
        ({"driver": "KEDA", "targetInFlight": 40}, 3, "targetInFlight (currently 40)"),
    ],
)
def test_the_remedy_of_kv_pressure_is_a_field_that_autoscaling_does_not_replace(
    autoscaling: Object, replicas: int, remedy: str
) -> None:
    case = status_input(
        ready_pod(),
        spec={"autoscaling": {"maxReplicas": 4, **autoscaling}},
        deployment=deployment_body(replicas),
    )
    pressure = with_signals(case, small_1=signal(kv_pressure=True))

    message = condition_of(report(pressure, NOW), ConditionType.OUT_OF_MEMORY).message

    assert remedy in message
    assert message.count("spec.replicas") == remedy.count("spec.replicas")


def test_it_is_kept_until_the_operator_polls_again() -> None:
    before = Status(conditions=[condition(ConditionType.OUT_OF_MEMORY, "True")])
    before.conditions[0] = before.conditions[0].model_copy(update={"reason": "KVPressure"})
    silent = previously(status_input(ready_pod()), before)
    relieved = previously(pressed(high=False), before)

    assert condition_of(report(silent, NOW), ConditionType.OUT_OF_MEMORY).status == "True"
    assert condition_of(report(relieved, NOW), ConditionType.OUT_OF_MEMORY).status == "False"
