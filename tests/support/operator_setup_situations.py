"""Situations of pods whose containers cannot start yet, and what is to be said of them."""

from dataclasses import replace

from builders import node_body, pod_body, unschedulable_pod, unscheduled_pod, waiting_container
from mistral_operator.api import Reason
from mistral_operator.status import StatusInput
from mistral_operator.status.verdict import Outlook
from mistral_operator.watch.pod_events import PodEvents
from operator_cluster_situations import Case
from status_inputs import status_input

FROM_IMAGE = {"model": {"source": {"image": {"reference": "models/m:1"}}}}
"""A resource whose model is in an image of its own."""


def with_events(
    case: StatusInput,
    reason: str = "",
    message: str = "",
    *,
    lasting: bool = False,
    new_node: str = "",
    undecided: bool = False,
) -> StatusInput:
    """Return an endpoint of whose pod Events say something."""
    events = PodEvents(reason, message, lasting, new_node, undecided)
    return replace(case, pod_events={"uid-of-small-1": events})


SETTING_UP = status_input(pod_body(waiting_container("ContainerCreating")))
NO_GPUS = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
NOWHERE = status_input(
    unschedulable_pod(NO_GPUS), nodes=(node_body("cpu-0", 0), node_body("cpu-1", 0))
)

SETUP_SITUATIONS: dict[str, Case] = {
    "a queue holds the pod": (
        status_input(unscheduled_pod(gates=["kueue.x-k8s.io/admission"])),
        Reason.CREATING,
        Outlook.WAITING,
        ["held by 1 scheduling gate, kueue.x-k8s.io/admission", "check the queue"],
    ),
    "no such scheduler": (
        status_input(unscheduled_pod(scheduler="volcano")),
        Reason.CREATING,
        Outlook.WAITING,
        ["waiting for the scheduler volcano", "correct spec.pod.schedulerName"],
    ),
    "another scheduler finds no node and says so in its own way": (
        status_input(
            pod_body(
                status={
                    "phase": "Pending",
                    "conditions": [
                        {
                            "type": "PodScheduled",
                            "status": "False",
                            "reason": "NotEnoughResources",
                            "message": "1/1 tasks in gang unschedulable",
                        }
                    ],
                }
            )
        ),
        Reason.UNSCHEDULABLE,
        Outlook.STUCK,
        ["The scheduler reports: 1/1 tasks in gang unschedulable"],
    ),
    "an image cannot be pulled": (
        status_input(
            pod_body(waiting_container("ImagePullBackOff", 'Back-off pulling image "server:1"'))
        ),
        Reason.IMAGE_UNAVAILABLE,
        Outlook.STUCK,
        ["check spec.image, and spec.pod.imagePullSecrets", "ImagePullBackOff", '"server:1"'],
    ),
    "the image of the fetching container cannot be pulled": (
        status_input(
            pod_body(
                waiting_container("ErrImagePull", "not found", name="fetch"),
                waiting_container("PodInitializing"),
            )
        ),
        Reason.IMAGE_UNAVAILABLE,
        Outlook.STUCK,
        ["ErrImagePull: not found"],
    ),
    "the image of the model cannot be pulled": (
        status_input(
            pod_body(waiting_container("ImagePullBackOff", 'Back-off pulling image "models/m:1"')),
            spec=FROM_IMAGE,
        ),
        Reason.IMAGE_UNAVAILABLE,
        Outlook.STUCK,
        ["check spec.model.source.image.reference, and spec.pod.imagePullSecrets", '"models/m:1"'],
    ),
    "the image of the server cannot be pulled, and the model is an image too": (
        status_input(
            pod_body(waiting_container("ErrImagePull", 'failed to pull image "models/m:12"')),
            spec=FROM_IMAGE | {"image": "models/m:12"},
        ),
        Reason.IMAGE_UNAVAILABLE,
        Outlook.STUCK,
        ["check spec.image, and"],
    ),
    "one of two images cannot be pulled": (
        status_input(
            pod_body(waiting_container("ErrImagePull", "unauthorized")),
            spec=FROM_IMAGE | {"image": "server:1"},
        ),
        Reason.IMAGE_UNAVAILABLE,
        Outlook.STUCK,
        ["check spec.image and spec.model.source.image.reference, and spec.pod.imagePullSecrets"],
    ),
    "the Secret of the hub is missing": (
        status_input(
            pod_body(
                waiting_container(
                    "CreateContainerConfigError", 'secret "hub-token" not found', name="fetch"
                )
            )
        ),
        Reason.CONFIG_MISSING,
        Outlook.STUCK,
        ['secret "hub-token" not found', "create the missing object"],
    ),
    "the claim of the cache takes no directory of compiled code": (
        status_input(
            pod_body(
                waiting_container(
                    "CreateContainerConfigError",
                    'failed to create subPath directory for volumeMount "model" of container'
                    ' "server"',
                )
            ),
            spec={"cache": {}},
        ),
        Reason.POD_NOT_SET_UP,
        Outlook.STUCK,
        ["free space on it or make it writable", "spec.cache.compiled", "subPath directory for"],
    ),
    "the Secret of a volume is missing": (
        with_events(
            SETTING_UP,
            "FailedMount",
            'MountVolume.SetUp failed for volume "certs" : secret "nope" not found',
            lasting=True,
        ),
        Reason.CONFIG_MISSING,
        Outlook.STUCK,
        ["create the missing object", 'FailedMount: MountVolume.SetUp failed for volume "certs"'],
    ),
    "a key of a volume is missing": (
        with_events(
            SETTING_UP, "FailedMount", "references non-existent secret key: a", lasting=True
        ),
        Reason.CONFIG_MISSING,
        Outlook.STUCK,
        ["or key, or correct the reference", "non-existent secret key: a"],
    ),
    "a volume cannot be mounted": (
        with_events(SETTING_UP, "FailedMount", "wrong fs type", lasting=True),
        Reason.POD_NOT_SET_UP,
        Outlook.STUCK,
        ["a volume cannot be mounted: correct", "Kubernetes reports: FailedMount: wrong fs type"],
    ),
    "a sandbox cannot be created": (
        with_events(SETTING_UP, "FailedCreatePodSandBox", "no runtime for kata", lasting=True),
        Reason.POD_NOT_SET_UP,
        Outlook.STUCK,
        ["the node cannot set it up: correct", "FailedCreatePodSandBox: no runtime for kata"],
    ),
    "a volume could not be mounted a moment ago": (
        with_events(SETTING_UP, "FailedMount", "failed to sync secret cache"),
        Reason.CREATING,
        Outlook.WAITING,
        ["are being created. Kubernetes reports: FailedMount: failed to sync secret cache"],
    ),
    "an autoscaler adds a node": (
        with_events(NOWHERE, new_node="TriggeredScaleUp: gpu 0->1"),
        Reason.CREATING,
        Outlook.WAITING,
        ["a node that an autoscaler adds. It reports: TriggeredScaleUp: gpu 0->1.", NO_GPUS],
    ),
    "an autoscaler may add a node": (
        with_events(NOWHERE, undecided=True),
        Reason.CREATING,
        Outlook.WAITING,
        ["waiting for a node. The scheduler reports: ", NO_GPUS],
    ),
    "no autoscaler adds a node": (
        with_events(NOWHERE),
        Reason.NO_FITTING_NODE,
        Outlook.STUCK,
        ["the largest node offers 0", NO_GPUS],
    ),
}
