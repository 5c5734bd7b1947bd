"""Images that nodes pull ahead of an edit, with the real DaemonSet controller and its scheduler.

kwok reports at once that pods run on its nodes. A node that it leaves alone pulls as the test says.
"""

import json
from typing import Any

import pytest

from cluster_namespace import Namespace, resource
from mistral_operator.kube import names
from operator_process import OperatorProcess

NEW = "registry.example.com/server:2"
SPEC: dict[str, Any] = {
    "rollout": {"prepull": "BeforeRollout", "prepullSeconds": 60},
    "pod": {"nodeSelector": {"type": "kwok"}},
}
FAKE_NODES = 2


@pytest.fixture
def endpoint(unserved: Namespace, operator: OperatorProcess) -> Namespace:
    """Return a namespace with an endpoint called `small` that is ready."""
    assert operator.process is not None
    unserved.apply(resource("small", SPEC))
    unserved.wait_for_reason("small", "Ready")
    return unserved


@pytest.fixture
def slow_node(endpoint: Namespace) -> Any:
    """Add a node whose kubelet is the test, and take it away afterwards."""
    name = f"slow-{endpoint.name}"
    labels = {"type": "kwok", "kubernetes.io/hostname": name}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
    endpoint.kubectl("apply", "-f", "-", text=json.dumps(node))
    resources = {"nvidia.com/gpu": "8", "cpu": "8", "memory": "64Gi", "pods": "110"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
    status = {"capacity": resources, "allocatable": resources, "conditions": [ready]}
    patch_status(endpoint, "node", name, status)
    yield name
    endpoint.kubectl("delete", "node", name)


def patch_status(namespace: Namespace, kind: str, name: str, status: Any) -> None:
    """Write the status of an object as the kubelet does."""
    patch = json.dumps({"status": status})
    namespace.kubectl("patch", kind, name, "--subresource=status", "--type=merge", f"-p={patch}")


def edit(namespace: Namespace, **spec: Any) -> None:
    """Edit the endpoint."""
    patch = json.dumps({"spec": spec})
    namespace.kubectl("patch", "msd", "small", "--type=merge", f"-p={patch}")


def image(namespace: Namespace) -> str:
    """Return the image in the Deployment."""
    body = namespace.wait_for("deployment", "small")
    return str(body["spec"]["template"]["spec"]["containers"][0]["image"])


def pulling(namespace: Namespace, node: str) -> str:
    """Return the name of the pod that pulls on a node, once it is there."""
    selector = f"--selector={names.LABEL_PREPULL}=small"

    def pods() -> list[str]:
        text = namespace.kubectl("get", "pod", selector, "--output=json")
        items = json.loads(text)["items"]
        return [one["metadata"]["name"] for one in items if one["spec"].get("nodeName") == node]

    namespace.until(pods, f"a pod that pulls on {node}")
    return pods()[0]


def report(namespace: Namespace, pod: str, **container: Any) -> None:
    """Report the container of a pod that pulls, as the kubelet does."""
    status = {"name": names.PREPULL_CONTAINER, "image": NEW, "imageID": "", "restartCount": 0}
    containers = [{"ready": False, **status, **container}]
    ready = {"type": "Ready", "status": str(bool(container.get("ready")))}
    patch_status(namespace, "pod", pod, {"containerStatuses": containers, "conditions": [ready]})


def until_nothing_pulls(namespace: Namespace) -> None:
    """Wait until the pods that pull and their DaemonSet are gone."""
    namespace.until(
        lambda: (
            not namespace.all_of("daemonset")
            and namespace.get("networkpolicy", names.prepull_policy("small")) is None
        ),
        "the DaemonSet to be deleted",
    )


def test_an_edit_waits_for_a_node_that_pulls_slowly(endpoint: Namespace, slow_node: str) -> None:
    before = image(endpoint)

    edit(endpoint, image=NEW)
    pod = pulling(endpoint, slow_node)
    condition = endpoint.wait_for_reason("small", "Prepulling")
    endpoint.until(
        lambda: f"2 of 3 nodes have pulled {NEW}" in endpoint.condition("small")["message"],
        "two nodes to have pulled",
    )
    assert condition["status"] == "False"
    assert endpoint.condition("small", "Available")["status"] == "True"
    assert image(endpoint) == before
    edit(endpoint, replicas=2)
    endpoint.until(
        lambda: endpoint.wait_for("deployment", "small")["status"].get("readyReplicas") == 2,
        "a second replica of the old image",
    )
    assert image(endpoint) == before

    report(endpoint, pod, ready=True, started=True, state={"running": {}})
    endpoint.wait_for_reason("small", "Ready")
    assert image(endpoint) == NEW
    until_nothing_pulls(endpoint)
    assert endpoint.condition("small", "ImagesPulled") == {}


def test_an_image_that_no_node_can_pull_is_not_rolled_out(
    endpoint: Namespace, slow_node: str
) -> None:
    before = image(endpoint)

    edit(endpoint, image=NEW, pod={"nodeSelector": {"kubernetes.io/hostname": slow_node}})
    pod = pulling(endpoint, slow_node)
    waiting = {"reason": "ErrImagePull", "message": "manifest unknown"}
    report(endpoint, pod, state={"waiting": waiting})

    condition = endpoint.wait_for_reason("small", "ImageUnavailable")
    assert f"node {slow_node} cannot pull: ErrImagePull: manifest unknown" in condition["message"]
    assert endpoint.condition("small", "Available")["status"] == "True"
    assert image(endpoint) == before

    edit(endpoint, image=None, pod={"nodeSelector": {"kubernetes.io/hostname": None}})
    endpoint.wait_for_reason("small", "Ready")
    until_nothing_pulls(endpoint)


def test_pods_that_a_quota_rejects_are_quoted_and_delay_the_edit_only_for_some_time(
    endpoint: Namespace,
) -> None:
    before = image(endpoint)
    endpoint.kubectl("create", "quota", "team", "--hard=pods=1")

    edit(endpoint, image=NEW)
    endpoint.until(
        lambda: (
            "exceeded quota: team" in endpoint.condition("small", "ImagesPulled").get("message", "")
        ),
        "the quota in the condition",
        50,
    )
    assert image(endpoint) == before

    # Fake pods become ready at once, and what is reported during a rollout would be over.
    none = json.dumps({"spec": {"hard": {"pods": "0"}}})
    endpoint.kubectl("patch", "quota", "team", "--type=merge", "--patch", none)
    endpoint.until(lambda: image(endpoint) == NEW, "the edit to be rolled out", 90)
    endpoint.until(
        lambda: "PrepullIncomplete" in endpoint.kubectl("get", "events"), "an Event about it"
    )
