"""From objects as kubelets and controllers write them to typed facts."""

from typing import Any

import pytest

from builders import (
    GPU,
    NAME,
    NAMESPACE,
    container,
    crashed_container,
    deployment_body,
    ended,
    failed_pod,
    merged,
    node_body,
    pod_body,
    ready_pod,
    replica_failure,
    signal,
    termination,
    unschedulable_pod,
    waiting_container,
)
from mistral_operator.fit.suitability import GpuTraits
from mistral_operator.watch.deployments import DeploymentFacts, deployment_facts
from mistral_operator.watch.facts import Observed, PodFacts, pod_facts
from mistral_operator.watch.nodes import node_facts
from mistral_server.contract import FailureClass

GIB = 1024**3


def test_a_ready_pod_is_known_by_its_condition() -> None:
    facts = pod_facts(ready_pod())

    assert (facts.name, facts.namespace, facts.owner) == ("small-1", NAMESPACE, NAME)
    assert facts.ip == "10.1.0.7"
    assert facts.ready
    assert not facts.terminating
    server = facts.container("server")
    assert server is not None
    assert (server.ready, server.started, server.running) == (True, True, True)


def test_a_pod_without_a_status_is_pending() -> None:
    facts = pod_facts({"metadata": {"name": "p", "namespace": "n", "uid": "u"}})

    assert facts == PodFacts(name="p", namespace="n", uid="u", owner="")
    assert facts.phase == "Pending"


def test_a_pod_with_a_deletion_time_is_terminating() -> None:
    assert pod_facts(ready_pod(deletionTimestamp="2026-03-01T12:00:00Z")).terminating


def test_init_containers_come_first() -> None:
    pod = pod_body(waiting_container("PodInitializing"), container("fetch"))

    assert [one.name for one in pod_facts(pod).containers] == ["fetch", "server"]


def test_an_unschedulable_pod_quotes_the_scheduler() -> None:
    message = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."

    assert pod_facts(unschedulable_pod(message)).unschedulable == message


def test_a_pod_with_a_scheduling_gate_is_not_unschedulable() -> None:
    gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "x"}

    assert pod_facts(pod_body(status={"conditions": [gated]})).unschedulable == ""


@pytest.mark.parametrize(
    ("message", "want"),
    [
        ("The node was low on resource: memory.", "The node was low on resource: memory."),
        ("", "Evicted"),
    ],
)
def test_a_failed_pod_has_the_reason(message: str, want: str) -> None:
    assert pod_facts(failed_pod("Evicted", message)).evicted == want


WAITING_STATES = {
    "ImagePullBackOff": 'Back-off pulling image "registry.example.com/server:1": ErrImagePull:'
    " not found",
    "CreateContainerConfigError": 'secret "hub-token" not found',
    "ContainerCreating": "",
}


@pytest.mark.parametrize(("reason", "message"), WAITING_STATES.items())
def test_a_waiting_container_has_the_reason(reason: str, message: str) -> None:
    facts = pod_facts(pod_body(waiting_container(reason, message))).containers[0]

    assert (facts.waiting_reason, facts.waiting_message) == (reason, message)
    assert not facts.running
    assert facts.exit_code is None


def test_a_crashing_container_has_its_last_exit() -> None:
    message = termination(FailureClass.START_FAILED, "out of memory", "torch.OutOfMemoryError")
    facts = pod_facts(pod_body(crashed_container(71, message=message))).containers[0]

    assert (facts.exit_code, facts.restarts, facts.waiting_reason) == (71, 3, "CrashLoopBackOff")
    assert facts.report is not None
    assert facts.report.failure is FailureClass.START_FAILED
    assert facts.report.evidence == "torch.OutOfMemoryError"


def test_the_current_exit_of_a_container_precedes_the_last_one() -> None:
    both = container(state=ended(70), lastState=ended(71))

    assert pod_facts(pod_body(both)).containers[0].exit_code == 70


def test_a_container_killed_for_memory_has_the_reason() -> None:
    facts = pod_facts(pod_body(crashed_container(137, "OOMKilled"))).containers[0]

    assert (facts.exit_reason, facts.exit_code) == ("OOMKilled", 137)
    assert facts.report is None


@pytest.mark.parametrize("message", ["", "Traceback ...", "{}", '{"level": "info"}', "[1]"])
def test_what_is_not_a_termination_report_is_not_taken_for_one(message: str) -> None:
    assert pod_facts(pod_body(crashed_container(1, message=message))).containers[0].report is None


def test_missing_fields_of_a_deployment_are_zero() -> None:
    body = {"metadata": {"generation": 2}, "spec": {"replicas": 3}}

    assert deployment_facts(body) == DeploymentFacts(generation=2, desired=3)


def test_missing_replicas_are_one() -> None:
    assert deployment_facts({"metadata": {}, "spec": {}}).desired == 1


@pytest.mark.parametrize(
    ("body", "settled"),
    [
        pytest.param(deployment_body(2, ready=2), True, id="all ready"),
        pytest.param(deployment_body(0), True, id="scaled to zero"),
        pytest.param(deployment_body(2, ready=1), False, id="one not ready"),
        pytest.param(deployment_body(2, ready=2, updated=1), False, id="one is old"),
        pytest.param(deployment_body(2, replicas=3, ready=2), False, id="one too many"),
        pytest.param(deployment_body(2, ready=2, generation=2), False, id="not observed yet"),
    ],
)
def test_a_deployment_is_settled_after_its_rollout(body: dict[str, Any], settled: bool) -> None:
    assert deployment_facts(body).settled is settled


@pytest.mark.parametrize(("status", "want"), [("True", "exceeded quota"), ("False", "")])
def test_a_rejected_pod_is_a_replica_failure(status: str, want: str) -> None:
    condition = replica_failure("exceeded quota") | {"status": status}

    assert deployment_facts(deployment_body(conditions=(condition,))).replica_failure == want


def test_a_node_has_its_extended_resources() -> None:
    facts = node_facts(node_body(gpus=4, memory_mib=81559))

    assert (facts.count(GPU), facts.count("amd.com/gpu")) == (4, 0)
    assert facts.memory(GPU) == 81559 * 1024**2


@pytest.mark.parametrize(
    ("count", "number"), [("0", 0), ("1k", 1000), ("110", 110), ("1e3", 1000), ("1e", 0), ("", 0)]
)
def test_a_count_is_a_quantity_and_zero_if_invalid(count: str, number: int) -> None:
    # The API server writes 1000 as 1k: the device plugin of KubeVirt reports it on every node.
    body = merged(node_body(), {"status": {"allocatable": {"devices.kubevirt.io/kvm": count}}})

    assert node_facts(body).count("devices.kubevirt.io/kvm") == number
    assert node_facts(body).count(GPU) == 8


@pytest.mark.parametrize("cordoned", [True, False])
def test_a_cordoned_node_is_one_and_keeps_its_resources(*, cordoned: bool) -> None:
    facts = node_facts(node_body(spec={"unschedulable": cordoned}))

    assert (facts.cordoned, facts.count(GPU)) == (cordoned, 8)


@pytest.mark.parametrize(
    ("label", "memory"),
    [
        (None, None),
        ("40960", 40 * GIB),
        ("40Gi", 40 * GIB),
        ("lots", None),
        ("", None),
        # A GPU that shares the memory of the host, and one too small for any model.
        ("0", None),
        ("81", None),
    ],
)
def test_the_memory_label_is_in_mebibytes_without_a_unit(
    label: str | None, memory: int | None
) -> None:
    labels = {} if label is None else {"nvidia.com/gpu.memory": label}

    assert node_facts(node_body(metadata={"labels": labels})).memory(GPU) == memory


@pytest.mark.parametrize(
    ("resource", "memory"),
    [
        ("nvidia.com/gpu", 80 * GIB),
        ("nvidia.com/gpu.shared", 80 * GIB),
        ("nvidia.com/mig-3g.40gb", 39 * GIB),
        ("nvidia.com/mig-3g.40gb.shared", 39 * GIB),
        ("nvidia.com/mig-1g.10gb", None),
        ("amd.com/gpu", None),
    ],
)
def test_a_slice_of_a_gpu_has_a_separate_memory_label(resource: str, memory: int | None) -> None:
    labels = {"nvidia.com/gpu.memory": "81920", "nvidia.com/mig-3g.40gb.memory": "39936"}

    assert node_facts(node_body(metadata={"labels": labels})).memory(resource) == memory


def test_signals_of_a_pod_are_stored_by_uid() -> None:
    pod, other = pod_facts(ready_pod()), pod_facts(ready_pod("small-2"))
    observed = Observed(pods=(pod, other), signals={pod.uid: signal()})

    assert observed.signal(pod) == signal()
    assert observed.signal(other) is None
    assert Observed(pods=(pod,)).signal(pod) is None


def test_an_unschedulable_pod_requests_the_sum_or_the_largest_init_container() -> None:
    def asking(name: str, **requests: str) -> dict[str, object]:
        return {"name": name, "resources": {"requests": requests}}

    spec = {
        "containers": [asking("server", cpu="4", memory="24Gi"), asking("proxy", cpu="500m")],
        "initContainers": [asking("fetch", cpu="1", memory="32Gi"), {"name": "other"}],
    }
    stuck = merged(unschedulable_pod("Insufficient cpu"), {"spec": spec})

    requests = {name: str(amount) for name, amount in pod_facts(stuck).requests}

    assert requests == {"cpu": "4.500", "memory": str(32 * GIB)}
    assert pod_facts(merged(ready_pod(), {"spec": spec})).requests == ()


def test_labels_of_a_node_say_what_its_gpus_can_run() -> None:
    labels = {
        "nvidia.com/gpu.compute.major": "7",
        "nvidia.com/gpu.replicas": "4",
        "nvidia.com/gpu.sharing-strategy": "mps",
        "nvidia.com/mig-1g.10gb.replicas": "two",
    }
    facts = node_facts(node_body(metadata={"labels": labels}))

    assert facts.traits(GPU) == GpuTraits(7, slices=False, replicas=4, strategy="mps")
    assert facts.traits("nvidia.com/mig-1g.10gb") == GpuTraits(7, slices=True)
    assert facts.traits("amd.com/gpu") == GpuTraits()
