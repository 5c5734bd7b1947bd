"""The real HorizontalPodAutoscaler controller scales a resource, alone or as real KEDA lets it."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

import keda_process
from activator_process import (
    SETTINGS,
    SOON,
    ask,
    network_of_fake_pods,
    running_activator,
    until_scaled_to_zero,
)
from cluster_namespace import Namespace, Object, resource
from external_metrics import external_metrics
from keda_process import Keda, running_keda
from mistral_dev.cluster import Cluster
from mistral_operator.kube import names
from operator_process import OperatorProcess
from talking_pods import TalkingPods

SCALING_SECONDS = 90.0
"""The controller of a local cluster looks every 3 seconds; that of a real one, every 15."""

AUTOSCALER = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
"""Who writes what the controller writes, in the audit log."""

HPA = "keda-hpa-small"
"""The HorizontalPodAutoscaler that KEDA makes of our ScaledObject."""

AT_ONCE = {
    "scaleUp": {"stabilizationWindowSeconds": 0},
    "scaleDown": {"stabilizationWindowSeconds": 0},
}


@pytest.fixture(scope="module")
def keda(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keda]:
    """Run KEDA, which a test needs before its operator: that looks once for ScaledObjects."""
    with running_keda(own_cluster, tmp_path_factory.mktemp("keda")) as started:
        yield started


@pytest.fixture
def operator_settings() -> dict[str, str]:
    """Let the operator find the activators, for endpoints that may scale to zero."""
    return SETTINGS


def endpoint(driver: str, **autoscaling: object) -> Object:
    """Return an endpoint of 1 to 4 replicas of 10 requests that another controller scales."""
    fields = {"driver": driver, "maxReplicas": 4, "targetInFlight": 10, **autoscaling}
    return resource("small", {"autoscaling": fields})


def scaled_by_keda(replicas: int = 1, **autoscaling: object) -> Object:
    """Return an endpoint that KEDA looks at every second."""
    made = endpoint("KEDA", keda={"pollingSeconds": 1}, **autoscaling)
    made["spec"]["replicas"] = replicas
    return made


def steady(namespace: Namespace, pods: TalkingPods) -> None:
    """Make an endpoint whose two replicas are what KEDA wants, and wait until it knows that.

    While pods come and go, what they say is of different moments: this load needs two even then,
    or for fewer within the window.
    """
    pods.running = 12
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 15}}
    namespace.apply(scaled_by_keda(replicas=2, behavior=behavior))
    namespace.wait_for_reason("small", "Ready")
    until_scaling_active(namespace)
    assert replicas(namespace) == (2, 2)


AUTOSCALER_OF_A_USER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "small"},
    "spec": {
        "scaleTargetRef": {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": "small"},
        "minReplicas": 1,
        "maxReplicas": 4,
        "behavior": AT_ONCE,
        "metrics": [
            {
                "type": "External",
                "external": {
                    "metric": {"name": "load"},
                    "target": {"type": "AverageValue", "averageValue": "10"},
                },
            }
        ],
    },
}


def load(operator: OperatorProcess, namespace: Namespace) -> float | None:
    """Return the load that the operator tells, None if it does not know."""
    path = names.load_path(namespace.name, "small")
    try:
        with urlopen(f"http://127.0.0.1:{operator.port}{path}", timeout=5) as answer:
            return float(json.load(answer)["load"])
    except (HTTPError, URLError):
        return None


def replicas(namespace: Namespace) -> tuple[int, int]:
    """Return the desired replicas of the resource and of its Deployment."""
    desired = (namespace.get("msd", "small") or {})["spec"]["replicas"]
    return desired, namespace.wait_for("deployment", "small")["spec"]["replicas"]


def scale_status(namespace: Namespace) -> Object:
    """Return what the scale subresource says of the pods."""
    text = namespace.kubectl("get", "msd", "small", "--subresource=scale", "-o", "json")
    status: Object = json.loads(text)["status"]
    return status


def conditions(namespace: Namespace, kind: str, name: str) -> dict[str, str]:
    """Return status and reason of each condition of an object."""
    conditions_list = (namespace.get(kind, name) or {}).get("status", {}).get("conditions", [])
    return {one["type"]: f"{one['status']} {one.get('reason', '')}" for one in conditions_list}


def until_scaling_active(namespace: Namespace, reason: str = "True ValidMetricFound") -> None:
    """Wait until KEDA's autoscaler knows the load; or does not, for some reason."""
    namespace.until(
        lambda: conditions(namespace, "hpa", HPA).get("ScalingActive") == reason,
        f"an autoscaler that says {reason}",
        SCALING_SECONDS,
    )


def written(namespace: Namespace, start: int) -> Counter[tuple[str, str]]:
    """Count who wrote what in a namespace since a position of the audit log.

    A rejected write changes nothing: an update of the scale that meets another write is repeated.
    """
    return Counter(
        (_writer(event), _kind(event["objectRef"]))
        for event in namespace.cluster.audit_events(start)
        if event.get("objectRef", {}).get("namespace") == namespace.name
        and event["verb"] in {"create", "update", "patch", "delete"}
        and event["responseStatus"]["code"] < 300
    )


def _writer(event: Object) -> str:
    name: str = event["user"]["username"]
    if name == "admin":
        # The tests are it, too, and delete nothing.
        applied = f"fieldManager={names.FIELD_MANAGER}" in event["requestURI"]
        return "operator" if applied or event["verb"] == "delete" else "test"
    return {AUTOSCALER: "autoscaler", keda_process.USERNAME: "KEDA"}.get(name, name)


def _kind(reference: Object) -> str:
    return "/".join(filter(None, (reference["resource"], reference.get("subresource"))))


def until_looked(namespace: Namespace, times: int = 2) -> None:
    """Wait until the controller has looked at the resource a few times more."""
    start = namespace.cluster.audit_position()

    def looks() -> int:
        return sum(
            event["user"]["username"] == AUTOSCALER and event["verb"] == "get"
            for event in namespace.cluster.audit_events(start)
            if event.get("objectRef", {}).get("namespace") == namespace.name
            and event["objectRef"].get("subresource") == "scale"
        )

    namespace.until(lambda: looks() >= times, f"{times} looks of the autoscaler", SCALING_SECONDS)


def follows_the_load(namespace: Namespace, pods: TalkingPods) -> None:
    """Raise and lower the load, and wait until the replicas follow it."""
    start = namespace.cluster.audit_position()
    pods.running, pods.waiting, pods.looping = 40, 6, 12
    namespace.until(lambda: replicas(namespace) == (4, 4), "4 replicas", SCALING_SECONDS)
    namespace.until(lambda: scale_status(namespace)["replicas"] == 4, "4 pods")
    assert scale_status(namespace)["selector"] == f"{names.LABEL_DEPLOYMENT}=small"

    pods.running, pods.waiting, pods.looping = 30, 0, 26
    namespace.until(lambda: replicas(namespace) == (1, 1), "1 replica", SCALING_SECONDS)
    namespace.wait_for_reason("small", "Ready")
    made = written(namespace, start)
    scalings = made["autoscaler", "mistralsmalldeployments/scale"]
    assert 2 <= scalings <= 6, "a few steps each way"
    assert made["operator", "deployments"] <= scalings, "each is carried out once"


def test_keda_scales_an_idle_endpoint_to_zero_and_starts_it_for_queued_requests(
    keda: Keda, unserved: Namespace, operator: OperatorProcess, tmp_path: Path
) -> None:
    with (
        network_of_fake_pods(),
        TalkingPods(unserved, moved=False).talking() as pods,
        running_activator(unserved, tmp_path / "activator.log"),
    ):
        start = unserved.cluster.audit_position()
        unserved.apply(scaled_by_keda(minReplicas=0, behavior=SOON))
        until_scaled_to_zero(unserved, pods)

        with ThreadPoolExecutor() as clients:
            answers = [clients.submit(ask, unserved) for _ in range(5)]
            assert [one.result()[0] for one in answers] == [200] * 5

        until_scaled_to_zero(unserved, pods)
        made = written(unserved, start)
        assert made["KEDA", "mistralsmalldeployments/scale"] == 3, "to zero, to one, to zero"
        assert made["operator", "deployments"] <= 4


def test_keda_leaves_the_last_replica_where_nothing_would_scale_from_zero(
    keda: Keda, unserved: Namespace, operator: OperatorProcess, pods: TalkingPods
) -> None:
    unserved.apply(scaled_by_keda(minReplicas=0, behavior=SOON))
    unserved.wait_for_reason("small", "ActivatorMissing", "ScalingLimited")

    unserved.until(
        lambda: conditions(unserved, "scaledobject", "small").get("Active") == "True ScalerActive",
        "an endpoint that KEDA does not take for idle",
    )

    assert replicas(unserved) == (1, 1)


def test_an_endpoint_without_replicas_gets_the_fewest_that_it_may_have(
    keda: Keda, unserved: Namespace, operator: OperatorProcess, pods: TalkingPods
) -> None:
    start = unserved.cluster.audit_position()

    unserved.apply(scaled_by_keda(replicas=0, minReplicas=2))

    unserved.until(lambda: replicas(unserved) == (2, 2), "2 replicas")
    unserved.wait_for_reason("small", "Ready")
    assert written(unserved, start)["KEDA", "mistralsmalldeployments/scale"] == 1


def test_nothing_of_keda_is_left_while_the_endpoint_is_suspended(
    keda: Keda, unserved: Namespace, operator: OperatorProcess
) -> None:
    unserved.apply(scaled_by_keda())
    unserved.wait_for("hpa", HPA)
    start = unserved.cluster.audit_position()

    _suspend(unserved, suspended=True)
    unserved.until(lambda: unserved.get("scaledobject", "small") is None, "no ScaledObject")
    # The garbage collector looks every 30 seconds for kinds of owners that it does not know yet.
    collected = "no HorizontalPodAutoscaler"
    unserved.until(lambda: unserved.get("hpa", HPA) is None, collected, SCALING_SECONDS)
    unserved.wait_for_reason("small", "Suspended")
    assert replicas(unserved) == (1, 0)
    made = written(unserved, start)
    assert made["operator", "scaledobjects"] in {1, 2}, "again, if the watch is late to tell"

    _suspend(unserved, suspended=False)
    unserved.wait_for("hpa", HPA)
    unserved.wait_for_reason("small", "Ready")
    assert replicas(unserved) == (1, 1)


def _suspend(namespace: Namespace, *, suspended: bool) -> None:
    patch = json.dumps({"spec": {"suspend": suspended}})
    namespace.kubectl("patch", "msd", "small", "--type=merge", f"--patch={patch}")


def test_keda_scales_the_resource(
    keda: Keda, unserved: Namespace, operator: OperatorProcess, pods: TalkingPods
) -> None:
    start = unserved.cluster.audit_position()
    unserved.apply(scaled_by_keda(behavior=AT_ONCE))
    unserved.wait_for_reason("small", "Ready")

    follows_the_load(unserved, pods)

    until_looked(unserved)
    assert replicas(unserved) == (1, 1)
    statuses = conditions(unserved, "scaledobject", "small")
    assert {statuses[kind] for kind in ("Ready", "Active", "HPAActive")} == {
        "True ScaledObjectReady",
        "True ScalerActive",
        "True HPAActive",
    }
    made = written(unserved, start)
    assert made["operator", "scaledobjects"] == 1, "what KEDA adds to it is left alone"
    assert made["KEDA", "horizontalpodautoscalers"] == 1, "and nothing has to be put right"


def test_edits_from_the_other_side_settle(
    keda: Keda, unserved: Namespace, operator: OperatorProcess, pods: TalkingPods
) -> None:
    steady(unserved, pods)
    start = unserved.cluster.audit_position()

    unserved.kubectl("scale", "msd", "small", "--replicas=4")
    unserved.until(lambda: replicas(unserved) == (2, 2), "2 replicas as before", SCALING_SECONDS)
    unserved.kubectl("scale", "deployment", "small", "--replicas=1")
    unserved.until(lambda: replicas(unserved) == (2, 2), "2 replicas as before")
    edit = '--patch={"spec":{"maxReplicaCount":9}}'
    unserved.kubectl("patch", "scaledobject", "small", "--type=merge", edit)
    unserved.until(lambda: _bounds(unserved) == (4, 4), "the bounds as before")
    until_looked(unserved)

    assert replicas(unserved) == (2, 2)
    made = written(unserved, start)
    scalings = made["autoscaler", "mistralsmalldeployments/scale"]
    assert scalings in {1, 2}, "at once, or by way of three"
    assert made["operator", "deployments"] <= 2 + scalings
    assert made["operator", "scaledobjects"] == 1
    assert made["KEDA", "horizontalpodautoscalers"] <= 2


def _bounds(namespace: Namespace) -> tuple[int, int]:
    """Return the most replicas by the ScaledObject, and by what KEDA made of it."""
    scaled = (namespace.get("scaledobject", "small") or {})["spec"]
    return scaled["maxReplicaCount"], (namespace.get("hpa", HPA) or {})["spec"]["maxReplicas"]


def test_what_keda_cannot_know_moves_nothing(
    keda: Keda, unserved: Namespace, operator: OperatorProcess, pods: TalkingPods
) -> None:
    steady(unserved, pods)
    start = unserved.cluster.audit_position()

    operator.stop()
    until_scaling_active(unserved, "False FailedGetExternalMetric")
    until_looked(unserved, times=1)
    operator.start()
    until_scaling_active(unserved)

    assert replicas(unserved) == (2, 2)
    made = written(unserved, start)
    assert not [what for _, what in made if what.endswith("/scale")]
    assert not [what for who, what in made if who == "operator"]


def test_a_horizontal_pod_autoscaler_scales_the_resource(
    unserved: Namespace, operator: OperatorProcess, pods: TalkingPods
) -> None:
    with external_metrics(unserved.cluster, lambda *_: load(operator, unserved)):
        unserved.apply(endpoint("External", behavior=AT_ONCE))
        unserved.wait_for_reason("small", "Ready")
        unserved.apply(AUTOSCALER_OF_A_USER)

        follows_the_load(unserved, pods)
