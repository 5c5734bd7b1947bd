"""Situations of endpoints whose model is fetched before pods need it, and what is to be said."""

from dataclasses import replace

from builders import (
    NAME,
    Object,
    container,
    crashed_container,
    deployment_body,
    pod_body,
    termination,
    unschedulable_pod,
    waiting_container,
)
from mistral_operator.api import Reason
from mistral_operator.kube import names
from mistral_operator.prefetch import Placement, Prefetch, PrefetchPhase
from mistral_operator.status import StatusInput
from mistral_operator.status.verdict import Outlook
from mistral_operator.watch.facts import ClaimFacts, pod_facts
from mistral_operator.watch.jobs import JobFacts
from mistral_server.contract import FailureClass, SignalDocument
from operator_cluster_situations import Case
from status_inputs import status_input, with_signals

FETCHING = Prefetch(PrefetchPhase.FETCHING, "claim/model", replicas=1)
SERVES = deployment_body(ready=1)
QUOTA = (
    'pods "small-prefetch-x" is forbidden: exceeded quota: team, requested: requests.cpu=1, used:'
    " requests.cpu=4, limited: requests.cpu=4"
)
LIMIT_RANGE = (
    'Pod "small-prefetch-x" is invalid: spec.containers[0].resources.requests: Invalid value:'
    ' "1Gi": must be less than or equal to memory limit of 512Mi'
)


def prefetching(
    *pods: Object, prefetch: Prefetch = FETCHING, failure: str = "", rejection: str = ""
) -> StatusInput:
    """Return an endpoint that serves while the model of an edit is fetched."""
    inputs = status_input(deployment=SERVES, spec={"cache": {"prefetch": "BeforePods"}})
    observed = replace(
        inputs.observed,
        prefetch_job=JobFacts("uid-of-job", failure=failure),
        prefetch_pods=tuple(pod_facts(one) for one in pods),
    )
    return replace(inputs, observed=observed, prefetch=prefetch, prefetch_rejection=rejection)


def first_start(inputs: StatusInput) -> StatusInput:
    """Return an endpoint that has no Deployment yet."""
    observed = replace(inputs.observed, deployment=None)
    return replace(inputs, observed=observed, prefetch=replace(inputs.prefetch, replicas=None))


def job_pod(*containers: Object) -> Object:
    """Return the pod of the Job."""
    status: Object = {"initContainerStatuses": [], "containerStatuses": [*containers]}
    labels = names.prefetch_labels(NAME)
    return pod_body(name="small-prefetch-x", labels=labels, status=status)


def nowhere(placement: Placement) -> StatusInput:
    """Return an endpoint for whose Job the scheduler finds no node."""
    pod = unschedulable_pod("0/3 nodes are available: 3 Insufficient cpu.")
    pod["metadata"]["labels"] = names.prefetch_labels(NAME)
    return prefetching(pod, prefetch=replace(FETCHING, placement=placement))


def unbound() -> StatusInput:
    """Return an endpoint whose claim has no StorageClass."""
    inputs = first_start(prefetching())
    claim = ClaimFacts("small-model-cache", "claim", "80Gi", hopeless=True, cause="no class")
    return replace(inputs, observed=replace(inputs.observed, claim=claim))


PROGRESS = SignalDocument.model_validate(
    {"ready": False, "fetch": {"fetched_bytes": 31_400_000_000, "total_bytes": 48_022_000_000}}
)
DENIED = termination(FailureClass.MODEL_UNAVAILABLE, "Cannot fetch a/b@next: the hub denied access")
FULL = termination(
    FailureClass.MODEL_UNAVAILABLE,
    "Cannot fetch a/b: the volume of /models is full: increase its size",
)
SERVING = "1 replica of the earlier configuration answers"

PREFETCH_SITUATIONS: dict[str, Case] = {
    "the claim for a prefetch is being created": (
        first_start(prefetching(prefetch=Prefetch(PrefetchPhase.CLAIM))),
        Reason.PREFETCHING,
        Outlook.WAITING,
        ["No pod starts until the model is fetched: waiting for the claim of the cache"],
    ),
    "the claim for a prefetch cannot be bound": (
        unbound(),
        Reason.CLAIM_PENDING,
        Outlook.STUCK,
        ["PersistentVolumeClaim small-model-cache is not bound: no class"],
    ),
    "the pod of a prefetch is being created": (
        first_start(prefetching()),
        Reason.PREFETCHING,
        Outlook.WAITING,
        ["No pod starts until the model is fetched: Job small-prefetch is creating its pod"],
    ),
    "a prefetch before an edit": (
        with_signals(prefetching(job_pod(container("fetch"))), small_prefetch_x=PROGRESS),
        Reason.PREFETCHING,
        Outlook.WAITING,
        [f"An edit waits until its model is fetched, and {SERVING}", "from the hub: 31 of 48 GB"],
    ),
    "a prefetch whose container is ready": (
        prefetching(job_pod(container("fetch", ready=True))),
        Reason.PREFETCHING,
        Outlook.WAITING,
        ["pod small-prefetch-x: the model is being fetched from the hub"],
    ),
    "an earlier prefetch is being deleted": (
        prefetching(prefetch=replace(FETCHING, phase=PrefetchPhase.REPLACING)),
        Reason.PREFETCHING,
        Outlook.WAITING,
        ["an earlier Job is being deleted"],
    ),
    "a prefetch is denied": (
        prefetching(job_pod(crashed_container(66, name="fetch", message=DENIED))),
        Reason.FETCH_FAILED,
        Outlook.STUCK,
        ["the hub denied access", SERVING, "spec.cache.prefetch"],
    ),
    "a prefetch finds the claim full": (
        prefetching(job_pod(crashed_container(66, name="fetch", message=FULL))),
        Reason.FETCH_FAILED,
        Outlook.STUCK,
        ["is full: increase spec.cache.size", SERVING],
    ),
    "the image of a prefetch cannot be pulled": (
        prefetching(job_pod(waiting_container("ImagePullBackOff", "no such image", name="fetch"))),
        Reason.IMAGE_UNAVAILABLE,
        Outlook.STUCK,
        ["check spec.image", SERVING],
    ),
    "a prefetch finds no node": (
        nowhere(Placement()),
        Reason.UNSCHEDULABLE,
        Outlook.STUCK,
        ["no node can run the pod that fetches the model", "3 Insufficient cpu", SERVING],
    ),
    "a prefetch finds no room on the nodes with GPUs": (
        nowhere(Placement(nodes=("a", "b"))),
        Reason.UNSCHEDULABLE,
        Outlook.STUCK,
        ["none of the nodes with the GPUs of a replica can run the pod that fetches the model"],
    ),
    "a prefetch finds no room beside a replica": (
        nowhere(Placement(beside_replicas=True)),
        Reason.UNSCHEDULABLE,
        Outlook.STUCK,
        ["no node of a replica, where the ReadWriteOnce claim is mounted, can run the pod"],
    ),
    "a quota rejects the pod of a prefetch": (
        prefetching(rejection=QUOTA),
        Reason.POD_REJECTED,
        Outlook.STUCK,
        [
            "ResourceQuota team has no room for requests.cpu: raise it",
            "the pod of Job small-prefetch",
            SERVING,
        ],
    ),
    "a limit range rejects the pod of a prefetch": (
        prefetching(rejection=LIMIT_RANGE),
        Reason.POD_REJECTED,
        Outlook.STUCK,
        ["set spec.pod.fetchResources.limits.memory"],
    ),
    "a Job of a prefetch has given up": (
        prefetching(failure="DeadlineExceeded"),
        Reason.FETCH_FAILED,
        Outlook.STUCK,
        ["Job small-prefetch makes no further attempt (DeadlineExceeded): delete it to try again"],
    ),
    "a prefetch has succeeded": (
        prefetching(prefetch=Prefetch(PrefetchPhase.FETCHED, "claim/model", keeps_job=True)),
        Reason.READY,
        Outlook.GOOD,
        ["1 replica answers"],
    ),
}
