"""Replicas follow the productive load, and no two controllers fight about them."""

import time
from collections import Counter

from autoscaled_endpoint import replicas, scaled
from cluster_namespace import Namespace, Object, resource
from mistral_operator.apply.replica_conflicts import MOST_REPAIRS
from mistral_operator.kube.names import FIELD_MANAGER
from operator_process import OperatorProcess
from operator_writes import writes
from talking_pods import TalkingPods


def scaling(namespace: Namespace) -> Object:
    """Return `status.autoscaling`, empty if there is none."""
    status = (namespace.get("msd", "small") or {}).get("status", {}).get("autoscaling", {})
    assert isinstance(status, dict)
    return status


def test_replicas_follow_the_load_up_and_down_in_a_bounded_number_of_writes(
    unserved: Namespace, pods: TalkingPods
) -> None:
    unserved.apply(scaled())
    unserved.wait_for_reason("small", "Ready")
    start = unserved.cluster.audit_position()

    pods.running, pods.waiting = 25, 9
    unserved.until(lambda: replicas(unserved) == 4, "4 replicas")
    unserved.until(lambda: scaling(unserved).get("replicas") == 4, "the decision in the status")
    unserved.wait_for_reason("small", "Ready")
    assert scaling(unserved)["reason"] == "ScaledUp"
    assert scaling(unserved)["targetInFlight"] == 10

    pods.running, pods.waiting = 4, 0
    unserved.until(lambda: replicas(unserved) == 1, "1 replica")
    unserved.wait_for_reason("small", "Ready")
    assert scaling(unserved)["reason"] == "ScaledDown"

    template = '-o=jsonpath={range .items[*]}{.reason}={.count}{"\\n"}{end}'
    lines = unserved.kubectl("get", "events", template).split()
    events = [line.split("=") for line in lines]
    assert {"ScaledUp", "ScaledDown"} <= {reason for reason, _ in events}
    made = writes(unserved, start)
    changes = sum(int(count) for reason, count in events if reason in {"ScaledUp", "ScaledDown"})
    assert made["patch deployments"] == changes, "each number is written once"
    spec = (unserved.get("msd", "small") or {})["spec"]
    assert spec["replicas"] == 1, "the spec is not ours to write"


def test_a_steady_load_writes_nothing(unserved: Namespace, pods: TalkingPods) -> None:
    unserved.apply(scaled())
    unserved.wait_for_reason("small", "Ready")
    pods.running = 10
    time.sleep(8)
    start = unserved.cluster.audit_position()

    for number in range(12):
        pods.running = 9 + number % 3
        time.sleep(1)

    ours = Counter(
        {what: count for what, count in writes(unserved, start).items() if "pods" not in what}
    )
    assert ours == Counter()


def test_loops_freeze_what_they_would_scale_up(unserved: Namespace, pods: TalkingPods) -> None:
    unserved.apply(scaled())
    unserved.wait_for_reason("small", "Ready")

    pods.running, pods.waiting, pods.looping = 20, 30, 18
    limited = unserved.wait_for_reason("small", "ScaleUpFrozen", "ScalingLimited")

    assert limited["status"] == "True"
    assert "18 looping" in limited["message"]
    assert replicas(unserved) == 1

    pods.looping = 0
    unserved.until(lambda: replicas(unserved) == 4, "4 replicas once nothing loops")


def test_silence_changes_nothing(unserved: Namespace, pods: TalkingPods) -> None:
    unserved.apply(scaled())
    pods.running = 35
    unserved.until(lambda: replicas(unserved) == 4, "4 replicas")
    unserved.wait_for_reason("small", "Ready")

    pods.mute = True
    # Half a minute is how long a pod may be silent; the rest is for a crowded machine.
    unserved.wait_for_reason("small", "NoSignals", "ScalingLimited", seconds=120)

    assert replicas(unserved) == 4


def test_edits_from_the_other_side_settle(unserved: Namespace, pods: TalkingPods) -> None:
    unserved.apply(scaled(minReplicas=2, behavior={}))
    pods.running = 15
    unserved.wait_for_reason("small", "Ready")
    assert replicas(unserved) == 2
    start = unserved.cluster.audit_position()

    unserved.kubectl("scale", "msd", "small", "--replicas=3")
    unserved.kubectl("scale", "deployment", "small", "--replicas=4")
    unserved.until(lambda: replicas(unserved) == 2, "2 replicas as before")
    time.sleep(5)

    assert replicas(unserved) == 2
    assert writes(unserved, start)["patch deployments"] <= 2
    spec = (unserved.get("msd", "small") or {})["spec"]
    assert spec["replicas"] == 3, "a foreign value is kept, and not followed"


def test_an_autoscaler_that_targets_the_deployment_is_not_fought_endlessly(
    unserved: Namespace, operator: OperatorProcess
) -> None:
    assert operator.process is not None
    unserved.apply(resource("small"))
    unserved.wait_for_reason("small", "Ready")
    start = unserved.cluster.audit_position()

    for _ in range(MOST_REPAIRS):
        unserved.kubectl("scale", "deployment", "small", "--replicas=3")
        unserved.until(lambda: replicas(unserved) == 1, "1 replica as before")
    unserved.kubectl("scale", "deployment", "small", "--replicas=3")
    contested = unserved.wait_for_reason("small", "ReplicasContested")

    assert "point that autoscaler at the scale subresource" in contested["message"]
    assert replicas(unserved) == 3
    assert _repairs(unserved, start) == MOST_REPAIRS

    unserved.kubectl("scale", "msd", "small", "--replicas=2")
    unserved.until(lambda: replicas(unserved) == 2, "the replicas of the resource itself")


def _repairs(namespace: Namespace, start: int) -> int:
    return sum(
        event["verb"] == "patch"
        for event in namespace.cluster.audit_events(start)
        if event.get("objectRef", {}).get("namespace") == namespace.name
        and event["objectRef"]["resource"] == "deployments"
        and f"fieldManager={FIELD_MANAGER}" in event["requestURI"]
    )


def test_a_new_operator_goes_on_where_the_old_one_was(
    unserved: Namespace, operator: OperatorProcess, pods: TalkingPods
) -> None:
    unserved.apply(scaled(behavior={"scaleUp": {"stabilizationWindowSeconds": 0}}))
    pods.running = 25
    unserved.until(lambda: replicas(unserved) == 3, "3 replicas")
    unserved.wait_for_reason("small", "Ready")
    pods.running = 0
    operator.stop()
    start = unserved.cluster.audit_position()

    operator.start()
    operator.until_acting()
    time.sleep(8)

    assert replicas(unserved) == 3, "the window begins anew"
    assert writes(unserved, start)["patch deployments"] == 0


def test_a_stopped_endpoint_stays_stopped(unserved: Namespace, pods: TalkingPods) -> None:
    unserved.apply(scaled())
    unserved.wait_for_reason("small", "Ready")
    pods.running = 40

    unserved.kubectl("scale", "msd", "small", "--replicas=0")

    unserved.wait_for_reason("small", "ScaledToZero")
    assert replicas(unserved) == 0
    assert scaling(unserved)["reason"] == "Stopped"


def test_more_replicas_than_the_gpus_hold_are_told_with_the_number_that_fits(
    served: Namespace,
) -> None:
    served.apply(scaled(maxReplicas=20))

    limited = served.wait_for_reason("small", "TooFewGpus", "ScalingLimited")

    assert "room for 8 replicas with 2 nvidia.com/gpu" in limited["message"]
