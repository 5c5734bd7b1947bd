"""Situations that pods are in, and what is to be said of them."""

from dataclasses import replace

from builders import (
    NOW,
    container,
    crashed_container,
    deployment_body,
    ended,
    failed_pod,
    node_body,
    pod_body,
    ready_pod,
    signal,
    termination,
    unschedulable_pod,
    unscheduled_pod,
    waiting_container,
)
from mistral_operator.api import Reason
from mistral_operator.status import StatusInput
from mistral_operator.status.verdict import Outlook
from mistral_operator.watch.pod_events import PodEvents
from mistral_server.contract import FailureClass, SignalDocument, Stage
from operator_cluster_situations import Case
from status_inputs import status_input, with_signals

FETCHED = container("fetch", state={"terminated": {"exitCode": 0, "reason": "Completed"}})

FROM_IMAGE = {"model": {"source": {"image": {"reference": "models/m:1"}}}}
"""A resource whose model is in an image of its own."""


def fetching(**progress: int) -> StatusInput:
    """Return an endpoint whose pod reports how much of its model it has fetched."""
    pod = pod_body(container("fetch"), waiting_container("PodInitializing"))
    document = SignalDocument.model_validate({"ready": False, "fetch": progress})
    return with_signals(status_input(pod), small_1=document)


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

POD_SITUATIONS: dict[str, Case] = {
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
    "the model is being fetched": (
        status_input(pod_body(container("fetch"), waiting_container("PodInitializing"))),
        Reason.FETCHING,
        Outlook.WAITING,
        ["the model is being fetched from the hub"],
    ),
    "a part of the model is fetched": (
        fetching(fetched_bytes=31_400_000_000, total_bytes=48_022_000_000),
        Reason.FETCHING,
        Outlook.WAITING,
        ["the model is being fetched from the hub: 31 of 48 GB"],
    ),
    "a small model is fetched": (
        fetching(fetched_bytes=310_000_000, total_bytes=900_000_000),
        Reason.FETCHING,
        Outlook.WAITING,
        ["310 of 900 MB"],
    ),
    "the fetch was killed and runs again": (
        status_input(
            pod_body(container("fetch", restartCount=1, lastState=ended(137))),
        ),
        Reason.FETCHING,
        Outlook.WAITING,
        ["the model is being fetched from the hub again, since the first fetch was killed"],
    ),
    "the fetch was killed and does not run yet": (
        status_input(pod_body(container("fetch", state=ended(137)))),
        Reason.FETCHING,
        Outlook.WAITING,
        ["again, since the first fetch was killed"],
    ),
    "the fetch is killed each time": (
        status_input(pod_body(crashed_container(137, name="fetch"))),
        Reason.FETCH_FAILED,
        Outlook.STUCK,
        ["Error, exit code 137 (restarted 3 times)"],
    ),
    "the fetch ran out of memory and runs again": (
        status_input(
            pod_body(container("fetch", restartCount=1, lastState=ended(137, "OOMKilled"))),
        ),
        Reason.FETCH_FAILED,
        Outlook.STUCK,
        ["OOMKilled, exit code 137"],
    ),
    "more of a model is reported than there is": (
        fetching(fetched_bytes=2**53, total_bytes=48_022_000_000),
        Reason.FETCHING,
        Outlook.WAITING,
        ["48 of 48 GB"],
    ),
    "another replica fetches the model": (
        fetching(fetched_bytes=31_400_000_000),
        Reason.FETCHING,
        Outlook.WAITING,
        ["from the hub: 31 GB"],
    ),
    "the model is fetched and the server has not been polled": (
        with_signals(
            status_input(pod_body(container(), FETCHED)),
            small_1=SignalDocument.model_validate({"ready": False, "fetch": {"fetched_bytes": 7}}),
        ),
        Reason.STARTING,
        Outlook.WAITING,
        ["the server is starting"],
    ),
    "the model cannot be fetched": (
        status_input(
            pod_body(
                crashed_container(
                    66,
                    name="fetch",
                    message=termination(FailureClass.MODEL_UNAVAILABLE, "the hub says 401"),
                ),
                waiting_container("PodInitializing"),
            )
        ),
        Reason.FETCH_FAILED,
        Outlook.STUCK,
        ["ModelUnavailable (restarted 3 times): the hub says 401"],
    ),
    "the claim is too small for the model": (
        status_input(
            pod_body(
                crashed_container(
                    66,
                    message=termination(
                        FailureClass.MODEL_UNAVAILABLE,
                        "Cannot fetch a/b@main: the volume of /models is full: increase its size",
                    ),
                    name="fetch",
                )
            ),
            spec={"cache": {}},
        ),
        Reason.FETCH_FAILED,
        Outlook.STUCK,
        ["the volume of /models is full: increase spec.cache.size"],
    ),
    "the fetch is tried again": (
        status_input(
            pod_body(
                container("fetch", restartCount=1, lastState=crashed_container(66)["lastState"])
            )
        ),
        Reason.FETCH_FAILED,
        Outlook.STUCK,
        ["Error, exit code 66"],
    ),
    "the model was fetched and the server comes next": (
        status_input(pod_body(FETCHED, waiting_container("PodInitializing"))),
        Reason.CREATING,
        Outlook.WAITING,
        ["the pod's containers are being created"],
    ),
    "the server died and left a report": (
        status_input(
            pod_body(
                crashed_container(
                    71,
                    message=termination(
                        FailureClass.START_FAILED,
                        "the GPU's memory is too small: lower spec.engine.contextLength",
                        "torch.OutOfMemoryError: CUDA out of memory",
                    ),
                )
            )
        ),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        [
            "StartFailed (restarted 3 times): the GPU's memory is too small",
            "Evidence: torch.OutOfMemoryError: CUDA out of memory",
        ],
    ),
    "the server image is older than the operator": (
        status_input(
            pod_body(
                crashed_container(
                    78,
                    message=termination(
                        FailureClass.INVALID_CONFIGURATION,
                        "MISTRAL_SERVER_SETTINGS cannot be used: engine.block_size: Extra inputs"
                        " are not permitted; gate.paths: Extra inputs are not permitted",
                    ),
                )
            )
        ),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        [
            "InvalidConfiguration (restarted 3 times): the server image is older than the operator",
            "does not know engine.block_size, spec.gate.paths: set spec.image to the image of this",
        ],
    ),
    "the system prompt is not in the model's directory": (
        status_input(
            pod_body(
                crashed_container(
                    78,
                    message=termination(
                        FailureClass.INVALID_CONFIGURATION,
                        "Cannot read the file of system_prompt.path, SYSTEM_PROMPT.txt: No such"
                        " file or directory. Add it, or use another source of the system prompt.",
                    ),
                )
            )
        ),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        ["InvalidConfiguration", "spec.systemPrompt", "SYSTEM_PROMPT.txt: No such file"],
    ),
    "the image that fetches is older than the operator": (
        status_input(
            pod_body(
                crashed_container(
                    78,
                    name="fetch",
                    message=termination(
                        FailureClass.INVALID_CONFIGURATION,
                        "MISTRAL_FETCH_SETTINGS cannot be used: revision: Extra inputs are not"
                        " permitted",
                    ),
                ),
                waiting_container("PodInitializing"),
            )
        ),
        Reason.FETCH_FAILED,
        Outlook.STUCK,
        ["and does not know spec.model.revision: set spec.image"],
    ),
    "the settings are invalid for another cause": (
        status_input(
            pod_body(
                crashed_container(
                    78,
                    message=termination(
                        FailureClass.INVALID_CONFIGURATION,
                        "MISTRAL_SERVER_SETTINGS cannot be used: engine.context_length: Input"
                        " should be greater than 0",
                    ),
                )
            )
        ),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        ["spec.engine.contextLength: Input should be greater than 0"],
    ),
    "the kernel killed the server": (
        status_input(pod_body(crashed_container(137, "OOMKilled", restartCount=1))),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        ["OOMKilled, exit code 137"],
    ),
    "the server died with nothing but a log": (
        status_input(pod_body(crashed_container(1, message="Traceback\n  ...\nKeyError: 'x'\n"))),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        ["Error, exit code 1 (restarted 3 times): KeyError: 'x'"],
    ),
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
