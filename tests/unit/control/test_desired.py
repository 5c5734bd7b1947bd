"""What a resource is to become: replicas, settings and activators, each with its reason."""

from dataclasses import replace
from typing import Any

import pytest

from builders import (
    CONTEXT,
    EARLIER,
    NOW,
    Object,
    container,
    deployment_body,
    ended,
    pod_body,
    ready_pod,
    resource,
    termination,
)
from mistral_operator.api import AutoscalingStatus, Oom, ScalingReason, Status
from mistral_operator.control.desired import DecisionInputs, Desired, decide_desired
from mistral_operator.oom import settings_in_force
from mistral_operator.render.pod import configuration_digest
from mistral_operator.scale_to_zero import ActivatorRoute, Activators
from mistral_operator.watch.deployments import deployment_facts
from mistral_operator.watch.facts import PodFacts, pod_facts
from mistral_server.contract import FailureClass

INPUTS = DecisionInputs(NOW, CONTEXT, deployment=deployment_facts(deployment_body(2, ready=2)))
ACTIVATORS = Activators(("10.0.0.8",))
SLEEPER: Object = {"autoscaling": {"minReplicas": 0, "maxReplicas": 4}}
APPLY: Object = {"oom": {"policy": "Apply"}}


def scaling(replicas: int, reason: ScalingReason = ScalingReason.SCALED_UP) -> AutoscalingStatus:
    """Return a decision of autoscaling."""
    return AutoscalingStatus(replicas=replicas, reason=reason, message="why", time=EARLIER)


def failed_pod(
    spec: Object | None = None,
    failure: FailureClass = FailureClass.CUDA_OOM_WARMUP,
    identity: str = "1",
) -> PodFacts:
    """Return a pod whose server failed with the settings of a spec."""
    message = termination(failure, "no room", "the line")
    state = ended(81, message=message, containerID=identity)
    return replace(
        pod_facts(pod_body(container(lastState=state, restartCount=1))),
        configuration=configuration_digest(settings_in_force(resource(spec), None), CONTEXT),
    )


def desired(spec: Object | None = None, previous: Status | None = None, **inputs: Any) -> Desired:
    """Decide on a resource."""
    return decide_desired(resource(spec), previous or Status(), replace(INPUTS, **inputs))


def test_a_resource_runs_as_it_is_written_where_nothing_else_is_decided() -> None:
    result = desired({"replicas": 2}, pods=(pod_facts(ready_pod()),))

    assert result.running == result.written
    assert (result.scaling, result.oom, result.activation, result.reasons) == (None, None, None, ())
    assert result.to_record(Status()) is None


def test_autoscaling_sets_the_replicas_and_says_why() -> None:
    result = desired({"replicas": 1}, scaling=scaling(3))

    assert result.written.spec.replicas == 1
    assert (result.running.spec.replicas, result.replicas) == (3, 3)
    assert result.reasons == ("autoscaling, ScaledUp: why",)


def test_a_remedy_changes_a_setting_and_says_why() -> None:
    result = desired(APPLY, pods=(failed_pod(APPLY),))

    assert result.oom is not None
    assert result.oom.overrides is not None
    assert result.written.spec.engine.gpu_memory_utilization == 0.9
    assert result.running.spec.engine.gpu_memory_utilization == 0.87
    (reason,) = result.reasons
    assert reason.startswith("spec.engine.gpuMemoryUtilization 0.87: ")


def test_a_failure_of_a_deleted_pod_counts_and_the_pod_is_remembered_as_accounted() -> None:
    pod = failed_pod()
    result = desired(deleted_pods=(pod,))

    assert result.oom is not None
    assert [one.count for one in result.oom.totals] == [1]
    assert result.deleted_pods == (pod,)


def test_an_endpoint_that_cannot_start_runs_no_replica_and_no_activator_waits_for_it() -> None:
    before = desired(SLEEPER, pods=(failed_pod(SLEEPER),)).oom
    assert before is not None
    stopped = before.model_copy(update={"stopped": True, "streak": 3})

    result = desired(
        SLEEPER, Status(oom=stopped), activators=ACTIVATORS, activator_port=20_000, pods=()
    )

    assert (result.running.spec.replicas, result.replicas) == (0, 1), "it is still desired"
    assert result.activation is None
    assert result.reasons == ("stopped after 3 failures with CudaOomWarmup",)


@pytest.mark.parametrize(
    ("serve", "replicas", "reasons"),
    [
        (False, 2, ("2 replicas kept until the activators are behind the Service",)),
        (True, 0, ()),
    ],
    ids=["not in place", "in place"],
)
def test_the_last_replica_stays_until_the_activators_serve(
    serve: bool, replicas: int, reasons: tuple[str, ...]
) -> None:
    result = desired(
        {**SLEEPER, "replicas": 0},
        activators=ACTIVATORS,
        activator_port=20_000,
        activators_serve=serve,
    )

    assert (result.running.spec.replicas, result.replicas) == (replicas, 0)
    assert result.activation == ActivatorRoute(20_000, ("10.0.0.8",))
    assert result.reasons == reasons


RECORDED: dict[str, tuple[AutoscalingStatus | None, AutoscalingStatus | None, bool]] = {
    "another number": (scaling(1), scaling(3), True),
    "the same number for another reason": (
        scaling(3),
        scaling(3, ScalingReason.AT_MAXIMUM),
        False,
    ),
    "the first number, which follows from the spec": (
        None,
        scaling(3, ScalingReason.STARTED),
        False,
    ),
    "the first number, which follows from the load": (None, scaling(3), True),
    "none": (scaling(3), None, False),
}


@pytest.mark.parametrize(("before", "now", "recorded"), RECORDED.values(), ids=RECORDED)
def test_what_a_new_operator_would_not_decide_again_is_recorded_first(
    before: AutoscalingStatus | None, now: AutoscalingStatus | None, recorded: bool
) -> None:
    previous = Status(autoscaling=before, url="kept")

    status = desired(previous=previous, scaling=now).to_record(previous)

    assert (status is not None) is recorded
    if status is not None:
        assert (status.autoscaling, status.url) == (now, "kept")


def test_scaling_and_memory_are_recorded_together() -> None:
    previous = Status(autoscaling=scaling(1))
    result = desired(APPLY, previous, scaling=scaling(3), pods=(failed_pod(APPLY),))

    status = result.to_record(previous)

    assert status is not None
    assert status.autoscaling == scaling(3)
    assert status.oom == result.oom
    assert result.to_record(status) is None


def test_which_failures_are_still_visible_is_no_decision() -> None:
    result = desired(pods=(failed_pod(),))
    assert result.oom is not None
    forgotten = result.oom.model_copy(update={"counted": []})

    assert result.to_record(Status(oom=forgotten)) is None
    assert result.to_record(Status(oom=Oom())) is not None


@pytest.mark.parametrize("counted_ready", [0, 1, 2])
def test_an_endpoint_stops_whatever_its_deployment_counts_meanwhile(counted_ready: int) -> None:
    status = Status()
    for number in range(3):
        pod = failed_pod({}, FailureClass.CUDA_OOM_LOAD, str(number))
        facts = deployment_facts(deployment_body(2, ready=counted_ready))
        result = desired({}, status, pods=(pod,), deployment=facts)
        status = Status(oom=result.oom)

    assert result.oom is not None
    assert (result.oom.streak, result.oom.stopped) == (3, True)


def test_a_pod_that_is_ready_again_has_started() -> None:
    pod = replace(failed_pod({}, FailureClass.CUDA_OOM_LOAD), ready=True)

    result = desired({"oom": {"stopAfter": 1}}, pods=(pod,))

    assert result.oom is not None
    assert not result.oom.stopped
