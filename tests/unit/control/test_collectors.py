"""The metrics of the fleet, and the names that alerts and dashboards rely on."""

import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import generate_latest

from mistral_operator import metrics
from mistral_operator.api import ConditionType, Oom, OomTotal, Reason, ScalingReason, Status
from mistral_operator.autoscaling import Decision, LoadSample, PodLoad
from mistral_operator.control.collectors import FleetCollector, Reported, ScalingCollector
from mistral_server.contract import MEMORY_FAILURES
from status_inputs import condition

STATUS = Status(
    conditions=[
        condition(status="True", reason=Reason.READY),
        condition(ConditionType.MODEL_FITS, "Unknown", Reason.GPU_MEMORY_UNKNOWN),
    ],
    replicas=3,
    ready_replicas=2,
)


def exposed(collector: FleetCollector | ScalingCollector) -> list[str]:
    """Return the samples that a scrape sees."""
    registry = CollectorRegistry()
    registry.register(collector)
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_a_resource_shows_its_conditions_and_replicas() -> None:
    fleet = FleetCollector({("models", "small"): Reported.of(STATUS, 4)})
    who = 'name="small",namespace="models"'

    assert [one for one in exposed(fleet) if one.startswith("mistral_deployment")] == [
        f'mistral_deployment_condition{{{who},status="True",type="Ready"}} 1.0',
        f'mistral_deployment_condition{{{who},status="Unknown",type="ModelFits"}} 1.0',
        f'mistral_deployment_replicas{{{who},state="desired"}} 4.0',
        f'mistral_deployment_replicas{{{who},state="existing"}} 3.0',
        f'mistral_deployment_replicas{{{who},state="ready"}} 2.0',
    ]


def test_a_resource_that_is_scaled_here_shows_the_decision_and_its_load() -> None:
    sample = LoadSample((PodLoad(running=9, looping=6),))
    decisions = {
        ("models", "small"): Decision(2, ScalingReason.FROZEN, sample=sample, target=10),
        ("models", "new"): Decision(1, ScalingReason.NO_SIGNALS),
    }

    assert exposed(ScalingCollector(decisions)) == [
        'mistral_operator_autoscaling_desired_replicas{name="small",namespace="models"} 2.0',
        'mistral_operator_autoscaling_desired_replicas{name="new",namespace="models"} 1.0',
        'mistral_operator_autoscaling_load{name="small",namespace="models"} 3.0',
        'mistral_operator_autoscaling_frozen{name="small",namespace="models"} 1.0',
        'mistral_operator_autoscaling_frozen{name="new",namespace="models"} 0.0',
    ]


def test_a_resource_that_is_gone_leaves_no_series_behind() -> None:
    fleet = FleetCollector({("models", "small"): Reported.of(STATUS, 4)})
    assert exposed(fleet)

    del fleet.statuses["models", "small"]

    assert exposed(fleet) == []


def test_a_condition_that_changed_has_one_series() -> None:
    fleet = FleetCollector()
    for status in ("False", "True"):
        reported = Status(conditions=[condition(status=status)])
        fleet.statuses["models", "small"] = Reported.of(reported, 1)

    ready = [line for line in exposed(fleet) if 'type="Ready"' in line]

    assert len(ready) == 1
    assert 'status="True"' in ready[0]


@pytest.mark.parametrize(
    ("status", "reason", "shown"),
    [
        ("True", Reason.TOO_FEW_GPUS, ["TooFewGpus"]),
        ("Unknown", Reason.NO_SIGNALS, ["NoSignals"]),
        ("False", Reason.WITHIN_LIMITS, []),
    ],
)
def test_what_limits_scaling_is_shown_by_its_reason(
    status: str, reason: Reason, shown: list[str]
) -> None:
    limited = Status(conditions=[condition(ConditionType.SCALING_LIMITED, status, reason)])
    fleet = FleetCollector({("models", "small"): Reported.of(limited, 1)})

    name = "mistral_deployment_scaling_limited"
    assert [line for line in exposed(fleet) if line.startswith(name)] == [
        f'{name}{{name="small",namespace="models",reason="{one}"}} 1.0' for one in shown
    ]


def test_the_names_are_those_of_the_documentation() -> None:
    assert metrics.LEADER is not None
    ours = {family.name for family in REGISTRY.collect() if family.name.startswith("mistral_op")}

    assert ours >= {
        "mistral_operator_api_requests",
        "mistral_operator_last_resync_timestamp_seconds",
        "mistral_operator_leader",
        "mistral_operator_queue_depth",
        "mistral_operator_queue_retrying",
        "mistral_operator_reconcile",
        "mistral_operator_reconcile_seconds",
        "mistral_operator_writes",
    }


def test_every_class_of_memory_failure_is_there_before_it_happens() -> None:
    oom = Oom(totals=[OomTotal(failure="HostOom", count=3)])
    fleet = FleetCollector(
        {("models", "small"): Reported.of(STATUS.model_copy(update={"oom": oom}), 1)}
    )

    counts = {
        line.split('class="')[1].split('"')[0]: float(line.rsplit(" ", 1)[1])
        for line in exposed(fleet)
        if line.startswith("mistral_operator_oom_events_total")
    }

    expected: dict[str, float] = dict.fromkeys(MEMORY_FAILURES, 0.0)
    assert counts == {**expected, "HostOom": 3.0}
