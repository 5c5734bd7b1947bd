"""The condition ScalingLimited: what keeps replicas from following the load."""

from dataclasses import replace

import pytest

from builders import NOW
from mistral_operator.api import ConditionType, Reason, ScalingReason
from mistral_operator.status import StatusInput, report
from mistral_operator.watch.facts import Observed
from status_inputs import condition_of, status_input
from status_scaling_cases import LIMITS, scaled


@pytest.mark.parametrize(("case", "status", "reason", "fragment"), LIMITS.values(), ids=LIMITS)
def test_what_limits_scaling_is_told_with_what_would_help(
    case: StatusInput, status: str, reason: Reason, fragment: str
) -> None:
    limited = condition_of(report(case, NOW), ConditionType.SCALING_LIMITED)

    assert (limited.status, limited.reason) == (status, reason)
    assert fragment in limited.message


def test_an_endpoint_without_autoscaling_has_no_such_condition() -> None:
    types = {one.type for one in report(status_input(), NOW).conditions}

    assert ConditionType.SCALING_LIMITED not in types


def test_the_decision_stands_in_the_status() -> None:
    case = scaled(ScalingReason.SCALED_UP)

    assert report(case, NOW).autoscaling == case.scaling


def test_a_cluster_without_keda_needs_no_restart_of_the_operator_once_keda_is_there() -> None:
    case = replace(scaled(driver="KEDA"), observed=Observed(keda=False))
    limited = condition_of(report(case, NOW), ConditionType.SCALING_LIMITED)

    assert "at its next resync" in limited.message
    assert "restart" not in limited.message
