"""Pods with containers that something else added, such as an injector of sidecars."""

from builders import (
    Object,
    container,
    crashed_container,
    ended,
    pod_body,
    termination,
    waiting_container,
)
from mistral_operator.api import Reason
from mistral_operator.status import StatusInput
from mistral_operator.status.verdict import Outlook
from mistral_server.contract import FailureClass
from operator_cluster_situations import Case
from status_inputs import status_input

INITIALIZED = container("istio-init", ready=True, state=ended(0, "Completed"))
SIDECAR = container("istio-proxy", ready=True, started=True)


def injected(*init: Object, pod: tuple[Object, ...]) -> StatusInput:
    """Return the input of a pod with these init containers and containers."""
    return status_input(pod_body(*pod, status={"initContainerStatuses": list(init)}))


FOREIGN_CONTAINERS: dict[str, Case] = {
    "an init container of others has completed and the server starts": (
        injected(INITIALIZED, pod=(container(), SIDECAR)),
        Reason.STARTING,
        Outlook.WAITING,
        ["pod small-1: the server is starting"],
    ),
    "an init container of others has completed and the server failed": (
        injected(
            INITIALIZED,
            pod=(
                container(
                    restartCount=1,
                    lastState=ended(
                        75, message=termination(FailureClass.START_TIMEOUT, "No chat was answered")
                    ),
                ),
                SIDECAR,
            ),
        ),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        ["pod small-1: StartTimeout: No chat was answered"],
    ),
    "a sidecar of others runs beside the fetch": (
        injected(SIDECAR, container("fetch"), pod=(waiting_container("PodInitializing"),)),
        Reason.FETCHING,
        Outlook.WAITING,
        ["the model is being fetched from the hub"],
    ),
    "a sidecar of others was restarted": (
        injected(pod=(container(), container("istio-proxy", restartCount=1, lastState=ended(1)))),
        Reason.STARTING,
        Outlook.WAITING,
        ["pod small-1: the server is starting"],
    ),
    "an init container of others fails": (
        injected(
            crashed_container(1, name="istio-init", message="iptables: Permission denied"),
            pod=(waiting_container("PodInitializing"),),
        ),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        [
            "container istio-init, which something else adds to the pods, exited before the",
            "could start: correct what adds it. Error, exit code 1 (restarted 3 times): iptables",
        ],
    ),
    "an init container of others takes its time": (
        injected(
            container("slow-init"),
            waiting_container("PodInitializing", name="fetch"),
            pod=(waiting_container("PodInitializing"),),
        ),
        Reason.CREATING,
        Outlook.WAITING,
        ["the server waits for container slow-init, which something else adds to the pods, which"],
    ),
    "an init container of others has failed and runs again": (
        injected(
            container("istio-init", restartCount=1, lastState=ended(1, message="no route")),
            pod=(waiting_container("PodInitializing"),),
        ),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        ["container istio-init, which something else adds to the pods, exited before", "no route"],
    ),
    "a sidecar of others has failed, runs again and holds up nothing": (
        injected(
            container("proxy", ready=True, started=True, restartCount=1, lastState=ended(1)),
            pod=(waiting_container("PodInitializing"),),
        ),
        Reason.CREATING,
        Outlook.WAITING,
        ["the pod's containers are being created"],
    ),
    "the image of a container of others cannot be pulled": (
        injected(pod=(container(), waiting_container("ErrImagePull", "no", name="istio-proxy"))),
        Reason.IMAGE_UNAVAILABLE,
        Outlook.STUCK,
        [
            "the image of container istio-proxy, which something else adds to the pods, cannot be",
            "correct what adds it. The kubelet reports: ErrImagePull: no",
        ],
    ),
    "an object of a container of others is missing": (
        injected(
            waiting_container("CreateContainerConfigError", "no such key", name="vault-agent"),
            pod=(waiting_container("PodInitializing"),),
        ),
        Reason.CONFIG_MISSING,
        Outlook.STUCK,
        ["container vault-agent, which something else adds to the pods, cannot be created"],
    ),
    "the server is ready and a sidecar of others is not": (
        injected(
            INITIALIZED,
            pod=(container(ready=True, started=True), crashed_container(1, name="istio-proxy")),
        ),
        Reason.NOT_READY,
        Outlook.WAITING,
        ["the server is ready, but container istio-proxy, which something else adds to the pods"],
    ),
}
