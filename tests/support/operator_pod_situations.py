"""Situations that pods are in, and what is to be said of them."""

from builders import (
    NOW,
    container,
    deployment_body,
    failed_pod,
    pod_body,
    ready_pod,
    signal,
    waiting_container,
)
from mistral_operator.api import Reason
from mistral_operator.status.verdict import Outlook
from mistral_server.contract import Stage
from operator_cluster_situations import Case
from operator_failure_situations import FAILURE_SITUATIONS
from operator_fetch_situations import FETCH_SITUATIONS
from operator_prefetch_situations import PREFETCH_SITUATIONS
from operator_setup_situations import SETUP_SITUATIONS
from status_inputs import status_input, with_signals

POD_SITUATIONS: dict[str, Case] = {
    **SETUP_SITUATIONS,
    **FETCH_SITUATIONS,
    **PREFETCH_SITUATIONS,
    **FAILURE_SITUATIONS,
    "a pod was evicted and nothing took its place": (
        status_input(failed_pod("Evicted", "The node was low on resource: memory.")),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        ["the pod failed: The node was low on resource: memory."],
    ),
    "a pod was evicted and its successor starts": (
        status_input(
            failed_pod("Evicted", "The node was low on resource: memory.", "small-0"),
            pod_body(container()),
        ),
        Reason.STARTING,
        Outlook.WAITING,
        ["pod small-1: the server is starting"],
    ),
    "a pod has just been bound to a node": (
        status_input(pod_body(status={"phase": "Pending"})),
        Reason.CREATING,
        Outlook.WAITING,
        ["the pod's containers are being created"],
    ),
    "the server starts and has not been heard": (
        status_input(pod_body(container())),
        Reason.STARTING,
        Outlook.WAITING,
        ["pod small-1: the server is starting"],
    ),
    "the server loads": (
        with_signals(status_input(pod_body(container())), small_1=signal(Stage.LOADING)),
        Reason.STARTING,
        Outlook.WAITING,
        ["pod small-1: the engine is loading the weights"],
    ),
    "the server had started and is not ready": (
        status_input(pod_body(container(started=True))),
        Reason.NOT_READY,
        Outlook.WAITING,
        ["the server is not ready"],
    ),
    "the server starts again after it was killed": (
        status_input(
            pod_body(
                container(
                    restartCount=1,
                    lastState={"terminated": {"exitCode": 137, "reason": "Error"}},
                )
            )
        ),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        ["pod small-1: Error, exit code 137"],
    ),
    "one replica serves and another one starts": (
        with_signals(
            status_input(
                ready_pod("small-0"),
                pod_body(container()),
                spec={"replicas": 2},
                deployment=deployment_body(2, ready=1),
            ),
            small_1=signal(Stage.LOADING),
        ),
        Reason.SCALING_UP,
        Outlook.WAITING,
        ["1 of 2 replicas ready; pod small-1: the engine is loading the weights"],
    ),
    "one replica serves and another one is not there yet": (
        status_input(
            ready_pod(), spec={"replicas": 2}, deployment=deployment_body(2, replicas=1, ready=1)
        ),
        Reason.SCALING_UP,
        Outlook.WAITING,
        ["1 of 2 replicas ready; the others are being created"],
    ),
    "one replica serves and another one serves no more": (
        status_input(
            ready_pod("small-0"),
            pod_body(container(started=True)),
            spec={"replicas": 2},
            deployment=deployment_body(2, ready=1),
        ),
        Reason.NOT_READY,
        Outlook.WAITING,
        ["pod small-1: the server is not ready"],
    ),
    "the server drains": (
        with_signals(
            status_input(pod_body(container(started=True))), small_1=signal(Stage.DRAINING)
        ),
        Reason.NOT_READY,
        Outlook.WAITING,
        ["the server is finishing the running requests"],
    ),
    "old and new pods exist side by side": (
        status_input(
            ready_pod(),
            spec={"replicas": 2},
            deployment=deployment_body(2, replicas=2, updated=1, ready=1),
        ),
        Reason.ROLLING_OUT,
        Outlook.WAITING,
        ["1 of 2 replicas updated"],
    ),
    "all pods are new, and the Deployment has not counted them yet": (
        status_input(ready_pod()),
        Reason.STARTING,
        Outlook.WAITING,
        ["waiting for the replicas to become ready"],
    ),
    "the last old pod is leaving": (
        status_input(
            pod_body(container(), deletionTimestamp=NOW),
            deployment=deployment_body(1, replicas=0),
        ),
        Reason.ROLLING_OUT,
        Outlook.WAITING,
        ["0 of 1 replica updated"],
    ),
    "one pod starts and another cannot": (
        status_input(
            pod_body(container(), name="small-1"),
            pod_body(waiting_container("ErrImagePull", "no"), name="small-2"),
            spec={"replicas": 2},
            deployment=deployment_body(2),
        ),
        Reason.IMAGE_UNAVAILABLE,
        Outlook.STUCK,
        ["pod small-2: "],
    ),
}
