"""What is known of the pods that pull images, by what kubelets report of them."""

import pytest

from builders import (
    Object,
    container,
    crashed_container,
    pod_body,
    unschedulable_pod,
    waiting_container,
)
from mistral_operator.kube import names
from mistral_operator.watch.daemon_sets import (
    DaemonSetFacts,
    PullFacts,
    daemon_set_facts,
    pull_facts,
)

PREPULL = names.PREPULL_CONTAINER
PODS: dict[str, tuple[Object, PullFacts]] = {
    "just created": (pod_body(), PullFacts("gpu-0")),
    "pulling": (
        pod_body(waiting_container("ContainerCreating", name=PREPULL)),
        PullFacts("gpu-0"),
    ),
    "running": (pod_body(container(PREPULL)), PullFacts("gpu-0", pulled=True)),
    "no such image": (
        pod_body(waiting_container("ImagePullBackOff", "manifest unknown", name=PREPULL)),
        PullFacts("gpu-0", failure="ImagePullBackOff: manifest unknown"),
    ),
    "an image without the command": (
        pod_body(waiting_container("RunContainerError", "no such file", name=PREPULL)),
        PullFacts("gpu-0", pulled=True),
    ),
    "a container that exited": (
        pod_body({**crashed_container(1), "name": PREPULL}),
        PullFacts("gpu-0", pulled=True),
    ),
    "no room": (
        unschedulable_pod("Too many pods"),
        PullFacts("gpu-0", unscheduled="Too many pods"),
    ),
}


@pytest.mark.parametrize(("body", "want"), PODS.values(), ids=PODS)
def test_a_node_has_pulled_once_its_container_can_be_created(body: Object, want: PullFacts) -> None:
    spec = {**body.get("spec", {}), "nodeName": "gpu-0"}

    assert pull_facts({**body, "spec": spec}) == want


def test_a_pod_that_is_not_scheduled_is_for_the_node_that_its_controller_named() -> None:
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["gpu-7"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}

    facts = pull_facts({**pod_body(), "spec": {"affinity": {"nodeAffinity": required}}})

    assert facts.node == "gpu-7"


@pytest.mark.parametrize(
    ("status", "want"),
    [
        ({}, DaemonSetFacts("2026-12-01T09:00:00Z")),
        (
            {"observedGeneration": 1, "desiredNumberScheduled": 5, "numberReady": 3},
            DaemonSetFacts("2026-12-01T09:00:00Z", nodes=5, ready=3),
        ),
        ({"observedGeneration": 2}, DaemonSetFacts("2026-12-01T09:00:00Z", observed=True)),
    ],
)
def test_the_number_of_nodes_is_that_of_the_newest_version(
    status: Object, want: DaemonSetFacts
) -> None:
    metadata = {"creationTimestamp": "2026-12-01T09:00:00Z", "generation": 2}

    assert daemon_set_facts({"metadata": metadata, "status": status}) == want
