"""Endpoints as `kubectl msd status` reads them, one for each reason that Ready can have."""

from dataclasses import replace

from builders import (
    EARLIER,
    deployment_body,
    node_body,
    ready_pod,
    signal,
    unschedulable_pod,
)
from mistral_operator.api import AutoscalingStatus, Oom, Status
from mistral_operator.plugin.endpoint import Endpoint, Happening, Replica
from mistral_operator.plugin.last_edit import Edit
from mistral_operator.status import StatusInput, report
from operator_cluster_situations import CLUSTER_SITUATIONS
from operator_pod_situations import POD_SITUATIONS
from status_inputs import remembering, status_input, with_signals

SITUATIONS: dict[str, StatusInput] = {
    name: case[0] for name, case in (CLUSTER_SITUATIONS | POD_SITUATIONS).items()
} | {
    "the GPUs are too old": status_input(
        unschedulable_pod("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."),
        nodes=(
            node_body(memory_mib=16384, metadata={"labels": {"nvidia.com/gpu.compute.major": "7"}}),
        ),
    ),
}

EVENTS = (
    Happening("2026-03-01T11:58:00Z", "Warning", "FetchFailed", "pod small-1: the hub says 401", 3),
    Happening(EARLIER, "Normal", "Ready", "1 replica answers"),
)


def endpoint(inputs: StatusInput, status: Status | None = None, **fields: object) -> Endpoint:
    """Return the endpoint of a status input, with the status that the operator reports of it."""
    resource = inputs.resource
    reported = report(inputs, "2026-03-01T11:57:00Z") if status is None else status
    replicas, prefetching = (
        tuple(
            Replica(
                facts=pod,
                node="gpu-0" if pod.ip else "",
                gpu="8 NVIDIA-H200" if pod.ip else "",
                created=EARLIER,
                signal=inputs.observed.signal(pod),
            )
            for pod in pods
        )
        for pods in (inputs.observed.pods, inputs.observed.prefetch_pods)
    )
    made = Endpoint(
        name=resource.name,
        namespace=resource.namespace,
        created=EARLIER,
        generation=resource.generation,
        spec=resource.spec,
        status=reported,
        replicas=replicas,
        prefetch_pods=prefetching,
        activator=any(one.reason == "Asleep" for one in reported.conditions),
    )
    return replace(made, **fields)  # type: ignore[arg-type]


SHOWN = (
    "scaled to zero, and nothing would start it",
    "the API server refuses a child",
    "scaled to zero",
    "the claim of the cache is bound to what cannot change",
    "the claim with the model is missing",
    "the claim of the cache can never be bound",
    "the ConfigMap of the system prompt is missing",
    "the Secret of the hub is missing",
    "it cannot start and was given up",
    "there is no Deployment yet",
    "no node has room, and the model would not fit there",
    "the model cannot be fetched",
    "the model is being fetched",
    "the GPUs are too old",
    "an image cannot be pulled",
    "the resource cannot be read",
    "a name is taken",
    "no node has enough GPUs",
    "scaled to zero without a port",
    "the server had started and is not ready",
    "a quota refuses the pods",
    "everything runs",
    "an edit waits for its images",
    "another controller keeps changing the replicas",
    "old and new pods exist side by side",
    "it is scaled to zero",
    "a replica cannot use the claim of another node",
    "the server died and left a report",
    "the model is fetched and the server has not been polled",
    "it is suspended",
    "the claim of the cache is not bound yet",
    "a prefetch before an edit",
)
"""One situation for each reason."""


def by_reason() -> dict[str, tuple[str, Endpoint]]:
    """Return the shown situation of each reason, with its name."""
    made = ((name, endpoint(SITUATIONS[name])) for name in SHOWN)
    return {one.reason: (name, one) for name, one in made}


READY = status_input(ready_pod(), deployment=deployment_body(1, ready=1))
SERVING = signal(
    running=12,
    waiting=3,
    kv_cache_usage=0.42,
    effective={"vllm_version": "0.32.0", "context_length": 131_072, "kv_cache_tokens": 605_296},
    compile_cache={"use": "hit"},
)

COMPILED = signal(compile_cache={"use": "miss"})
FULL = signal(
    compile_cache={"use": "off", "reason": "the claim has less than 512 MiB free"},
)

FAILED = Oom.model_validate(
    {
        "active": "CudaOomLoad",
        "totals": [{"class": "CudaOomLoad", "count": 2}],
        "events": [
            {
                "class": "CudaOomLoad",
                "pod": "small-1",
                "evidence": "torch.OutOfMemoryError: CUDA out of memory",
                "time": "2026-03-01T11:50:00Z",
            }
        ],
        "recommendation": {
            "setting": "spec.engine.maxSequences",
            "before": "256",
            "after": "128",
            "reason": "fewer requests at once need less memory",
        },
    }
)


def _scaling() -> StatusInput:
    autoscaling = {"minReplicas": 0, "maxReplicas": 4}
    decision = AutoscalingStatus.model_validate(
        {
            "replicas": 1,
            "reason": "OnTarget",
            "message": "12 productive requests in flight need 1 replica",
            "time": "2026-03-01T11:45:00Z",
            "load": 12,
        }
    )
    inputs = status_input(
        ready_pod(), spec={"autoscaling": autoscaling}, deployment=deployment_body(1, ready=1)
    )
    return replace(inputs, scaling=decision)


SPECIAL: list[tuple[str, Endpoint, tuple[str, ...]]] = [
    (
        "a serving endpoint with Events, of a user who may not read nodes",
        endpoint(
            with_signals(READY, small_1=SERVING),
            happenings=EVENTS,
            edit=Edit("2026-03-01T11:55:00Z", "kubectl-edit"),
        ),
        ("cannot get nodes: ask an administrator to allow it",),
    ),
    ("autoscaling between zero and four replicas", endpoint(_scaling(), activator=True), ()),
    ("memory failures and a recommendation", endpoint(remembering(READY, FAILED)), ()),
    ("compiled code that is kept now", endpoint(with_signals(READY, small_1=COMPILED)), ()),
    ("compiled code that cannot be kept", endpoint(with_signals(READY, small_1=FULL)), ()),
    ("no operator has reported", endpoint(READY, Status()), ()),
    ("the spec is newer than the status", endpoint(READY, generation=7), ()),
    ("the resource is being deleted", endpoint(READY, terminating=True), ()),
    ("this program cannot read the spec", endpoint(READY, spec=None), ()),
]
"""Other states: title, endpoint, what could not be read."""
