"""The real HorizontalPodAutoscaler controller scales a resource, alone or as KEDA lets it.

KEDA makes a HorizontalPodAutoscaler of each ScaledObject and answers for its metric by what the
trigger says. That part of it is played here, from the ScaledObject that the operator made.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from cluster.test_steady import writes
from definitions import until_established
from external_metrics import external_metrics
from mistral_operator import names
from namespace import Namespace, Object, resource, until_served
from operator_process import OperatorProcess, running_operator
from talking_pods import TalkingPods

SETTINGS = {"SIGNAL_SECONDS": "1", "AUTOSCALING_SECONDS": "1", "URL": "http://operator.test:8080"}
SCALING_SECONDS = 90.0
"""The controller of a local cluster looks every 3 seconds; that of a real one, every 15."""

SCALED_OBJECTS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "scaledobjects.keda.sh"},
    "spec": {
        "group": "keda.sh",
        "scope": "Namespaced",
        "names": {"kind": "ScaledObject", "plural": "scaledobjects", "singular": "scaledobject"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}
BEHAVIOR = {
    "scaleUp": {"stabilizationWindowSeconds": 0},
    "scaleDown": {"stabilizationWindowSeconds": 0},
}


@pytest.fixture
def operator(unserved: Namespace, log: Path) -> Iterator[OperatorProcess]:
    """Run an operator in a cluster that knows ScaledObjects."""
    unserved.cluster.kubectl("apply", "-f", "-", text=json.dumps(SCALED_OBJECTS))
    until_established(unserved.cluster)
    until_served(unserved.cluster, "scaledobjects")
    with running_operator(unserved.cluster, log, **SETTINGS) as started:
        yield started
        assert "Traceback" not in log.read_text(), log.read_text()


@pytest.fixture
def pods(unserved: Namespace, operator: OperatorProcess) -> Iterator[TalkingPods]:
    """Give the pods of the namespace a voice."""
    assert operator.process is not None
    with TalkingPods(unserved).talking() as made:
        yield made


def endpoint(driver: str) -> Object:
    """Return an endpoint of 1 to 4 replicas of 10 requests that somebody else scales."""
    fields = {"driver": driver, "maxReplicas": 4, "targetInFlight": 10, "behavior": BEHAVIOR}
    return resource("small", {"autoscaling": fields})


def autoscaler(target: str, behavior: Object, least: int = 1, most: int = 4) -> Object:
    """Return an autoscaler of the resource, by an external metric as an average over pods."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "small"},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": "small",
            },
            "minReplicas": least,
            "maxReplicas": most,
            "behavior": behavior,
            "metrics": [
                {
                    "type": "External",
                    "external": {
                        "metric": {"name": "load"},
                        "target": {"type": "AverageValue", "averageValue": target},
                    },
                }
            ],
        },
    }


def read(operator: OperatorProcess, path: str, field: str) -> float | None:
    """Return a field of what the operator answers, None if it has no answer."""
    try:
        with urlopen(f"http://127.0.0.1:{operator.port}{path}", timeout=5) as answer:
            return float(json.load(answer)[field])
    except (HTTPError, URLError):
        return None


def replicas(namespace: Namespace) -> tuple[int, int]:
    """Return what the resource and its Deployment ask for."""
    wanted = (namespace.get("msd", "small") or {})["spec"]["replicas"]
    return wanted, namespace.wait_for("deployment", "small")["spec"]["replicas"]


def scale_status(namespace: Namespace) -> Object:
    """Return what the scale subresource says of the pods."""
    text = namespace.kubectl("get", "msd", "small", "--subresource=scale", "-o", "json")
    status: Object = json.loads(text)["status"]
    return status


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
    assert writes(namespace, start)["patch deployments"] <= 6, "a few steps each way"


def test_a_horizontal_pod_autoscaler_scales_the_resource(
    unserved: Namespace, operator: OperatorProcess, pods: TalkingPods
) -> None:
    path = names.load_path(unserved.name, "small")
    with external_metrics(unserved.cluster, lambda *_: read(operator, path, "load")):
        unserved.apply(endpoint("External"))
        unserved.wait_for_reason("small", "Ready")
        unserved.apply(autoscaler("10", BEHAVIOR))

        follows_the_load(unserved, pods)

    assert unserved.get("scaledobject", "small") is None


def test_keda_scales_the_resource_by_the_scaled_object_that_the_operator_made(
    unserved: Namespace, operator: OperatorProcess, pods: TalkingPods
) -> None:
    unserved.apply(endpoint("KEDA"))
    made = unserved.wait_for("scaledobject", "small")["spec"]
    (trigger,) = made["triggers"]
    url = urlsplit(trigger["metadata"]["url"])
    assert (trigger["type"], url.netloc) == ("metrics-api", "operator.test:8080")
    location = trigger["metadata"]["valueLocation"]
    assert made["scaleTargetRef"]["kind"] == names.KIND

    with external_metrics(unserved.cluster, lambda *_: read(operator, url.path, location)):
        unserved.wait_for_reason("small", "Ready")
        behavior = made["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        bounds = made["minReplicaCount"], made["maxReplicaCount"]
        unserved.apply(autoscaler(trigger["metadata"]["targetValue"], behavior, *bounds))

        follows_the_load(unserved, pods)


def test_a_scaled_object_goes_while_the_endpoint_is_suspended(
    unserved: Namespace, operator: OperatorProcess
) -> None:
    assert operator.process is not None
    unserved.apply(endpoint("KEDA"))
    unserved.wait_for("scaledobject", "small")

    unserved.kubectl("patch", "msd", "small", "--type=merge", '--patch={"spec":{"suspend":true}}')

    unserved.until(lambda: unserved.get("scaledobject", "small") is None, "no ScaledObject")
