"""Situations that the resource and its Deployment are in, and what is to be said of them."""

from dataclasses import replace

from builders import (
    GPU,
    ON_CPUS,
    Object,
    deployment_body,
    merged,
    node_body,
    pod_body,
    ready_pod,
    replica_failure,
    resource,
    unschedulable_pod,
    waiting_container,
)
from mistral_operator.api import Oom, Reason
from mistral_operator.api.status import Problem
from mistral_operator.status import StatusInput
from mistral_operator.status.prepull import Prepull
from mistral_operator.status.verdict import Outlook
from mistral_operator.watch.daemon_sets import PullFacts
from mistral_operator.watch.facts import ClaimFacts, Observed
from status_inputs import remembering, status_input

Case = tuple[StatusInput, Reason, Outlook, list[str]]
"""A status input, the reason that is given for it, what will happen, and parts of the message."""

READY = deployment_body(1, ready=1)


PULLING = Prepull(
    ("gpu-0", "gpu-1"),
    keeps_template=True,
    images=("registry.example.com/server:2",),
    pulled=1,
    total=2,
)
UNPULLABLE = replace(
    PULLING, pulled=0, missing=(PullFacts("gpu-0", failure="ErrImagePull: manifest unknown"),)
)


def mounting(claim: str) -> Object:
    """Return a spec with a claim in its volumes."""
    volume = {"name": "files", "persistentVolumeClaim": {"claimName": claim}}
    return {"pod": {"volumes": [volume]}}


CORDONED = "0/1 nodes are available: 1 node(s) were unschedulable."

NO_GPUS = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."

SLEEPER: Object = {"minReplicas": 0, "maxReplicas": 4}


def requesting(message: str, **requests: str) -> Object:
    """Return a pod that finds no node for what it requests."""
    resources = {"requests": requests}
    return merged(
        unschedulable_pod(message),
        {"spec": {"containers": [{"name": "server", "resources": resources}]}},
    )


def without_activator(spec: Object) -> StatusInput:
    """Return an endpoint without replicas in a cluster without an activator."""
    case = status_input(spec=spec, deployment=deployment_body(0))
    return replace(case, observed=replace(case.observed, activator=False))


def without_port(spec: Object) -> StatusInput:
    """Return an endpoint without replicas that has no port of the activators."""
    case = status_input(spec=spec, deployment=deployment_body(0))
    return replace(case, observed=replace(case.observed, no_port="there are too many here"))


BOUND = ClaimFacts("small-model-cache", "uid", "80Gi", ("ReadWriteOnce",), bound=True)
PENDING = replace(BOUND, bound=False)
IMMEDIATE = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."


def with_claim(case: StatusInput, claim: ClaimFacts) -> StatusInput:
    """Return an endpoint with the claim of its cache."""
    return replace(case, observed=replace(case.observed, claim=claim))


CACHES: dict[str, tuple[StatusInput, str, Reason, str]] = {
    "bound": (with_claim(status_input(), BOUND), "True", Reason.BOUND, "has 80Gi (ReadWriteOnce)"),
    "not bound": (
        with_claim(status_input(), replace(PENDING, cause="no StorageClass")),
        "False",
        Reason.CLAIM_PENDING,
        "PersistentVolumeClaim small-model-cache is not bound: no StorageClass",
    ),
    "lost with its volume": (
        with_claim(status_input(), replace(BOUND, phase="Lost", cause="its volume is gone")),
        "False",
        Reason.CLAIM_PENDING,
        "is not bound: its volume is gone",
    ),
    "waiting for the volume that it names": (
        with_claim(status_input(), replace(BOUND, phase="Pending")),
        "False",
        Reason.CLAIM_PENDING,
        "is not bound: waiting for its volume",
    ),
    "of one node, for several replicas": (
        with_claim(status_input(spec={"replicas": 2}), BOUND),
        "True",
        Reason.ONE_NODE,
        "is ReadWriteOnce, so all replicas run on one node",
    ),
    "of one node, for what may become several replicas": (
        with_claim(status_input(spec={"autoscaling": {"maxReplicas": 2}}), BOUND),
        "True",
        Reason.ONE_NODE,
        "spec.cache.accessMode set to ReadWriteMany",
    ),
    "of all nodes": (
        with_claim(
            status_input(spec={"replicas": 2}), replace(BOUND, access_modes=("ReadWriteMany",))
        ),
        "True",
        Reason.BOUND,
        "(ReadWriteMany)",
    ),
    "too small": (
        with_claim(status_input(), replace(BOUND, size="44Gi")),
        "True",
        Reason.CACHE_TOO_SMALL,
        "has 44Gi, and the model takes 48 GB: increase spec.cache.size",
    ),
    "small, of an unknown model": (
        with_claim(status_input(spec={"model": {"id": "a/b"}}), replace(BOUND, size="1Gi")),
        "True",
        Reason.BOUND,
        "1Gi",
    ),
}
"""Endpoints with the condition CacheBound: its status, its reason and a part of its message."""


CLUSTER_SITUATIONS: dict[str, Case] = {
    "created with a paused rollout": (
        status_input(deployment=merged(deployment_body(1, replicas=0), {"spec": {"paused": True}})),
        Reason.PAUSED,
        Outlook.WAITING,
        ["spec.rollout.paused is true", "set it to false to start"],
    ),
    "everything runs": (
        status_input(ready_pod(), deployment=READY),
        Reason.READY,
        Outlook.GOOD,
        ["1 replica answers as mistralai/Mistral-Small-3.2-24B-Instruct-2506"],
    ),
    "an edit waits for its images": (
        replace(status_input(ready_pod(), deployment=READY), prepull=PULLING),
        Reason.PREPULLING,
        Outlook.WAITING,
        ["an edit waits", "1 of 2 nodes have pulled registry.example.com/server:2"],
    ),
    "no node can pull the images of an edit": (
        replace(
            status_input(ready_pod(), spec={"image": PULLING.images[0]}, deployment=READY),
            prepull=UNPULLABLE,
        ),
        Reason.IMAGE_UNAVAILABLE,
        Outlook.STUCK,
        ["no node can pull", "correct spec.image, or", "node gpu-0 cannot pull: ErrImagePull"],
    ),
    "several replicas run under a name": (
        status_input(
            spec={"replicas": 2, "model": {"servedName": "small"}},
            deployment=deployment_body(2, ready=2),
        ),
        Reason.READY,
        Outlook.GOOD,
        ["2 replicas answer as small"],
    ),
    "it cannot start and was given up": (
        remembering(
            status_input(spec={"replicas": 0}, deployment=deployment_body(0)),
            Oom(active="CudaOomLoad", streak=3, stopped=True),
        ),
        Reason.CRASH_LOOP,
        Outlook.STUCK,
        [
            "stopped after 3 consecutive CudaOomLoad failures",
            "spec.engine.tensorParallelSize",
            "suspend and resume",
        ],
    ),
    "it is suspended": (
        status_input(spec={"suspend": True}, deployment=deployment_body(0)),
        Reason.SUSPENDED,
        Outlook.GOOD,
        ["spec.suspend is true", "set it to false"],
    ),
    "it is suspended, and the Deployment's controller lags behind": (
        status_input(spec={"suspend": True}, deployment=deployment_body(0, generation=2)),
        Reason.SUSPENDED,
        Outlook.GOOD,
        ["spec.suspend is true"],
    ),
    "it is scaled to zero": (
        status_input(spec={"replicas": 0}, deployment=deployment_body(0)),
        Reason.SCALED_TO_ZERO,
        Outlook.GOOD,
        ["spec.replicas is 0", "raise it"],
    ),
    "scaled to zero": (
        status_input(spec={"replicas": 0, "autoscaling": SLEEPER}, deployment=deployment_body(0)),
        Reason.ASLEEP,
        Outlook.GOOD,
        ["scaled to zero", "the next request starts a replica"],
    ),
    "scaled to zero, and nothing would start it": (
        without_activator(spec={"replicas": 0, "autoscaling": SLEEPER}),
        Reason.ACTIVATOR_MISSING,
        Outlook.STUCK,
        ["no activator is ready", "spec.autoscaling.minReplicas to 1"],
    ),
    "scaled to zero without a port": (
        without_port(spec={"replicas": 0, "autoscaling": SLEEPER}),
        Reason.NO_PORT,
        Outlook.STUCK,
        ["no request can reach", "too many here", "raise activator.portsPerNamespace"],
    ),
    "it might scale to zero if it were not stopped": (
        status_input(spec={"suspend": True, "autoscaling": SLEEPER}, deployment=deployment_body(0)),
        Reason.SUSPENDED,
        Outlook.GOOD,
        ["spec.suspend is true"],
    ),
    "there is no Deployment yet": (
        StatusInput(resource(), Observed()),
        Reason.CREATING,
        Outlook.WAITING,
        ["the child objects are being created"],
    ),
    "the Deployment's controller lags behind": (
        status_input(deployment=deployment_body(1, ready=1, generation=2)),
        Reason.CREATING,
        Outlook.WAITING,
        ["the child objects are being created"],
    ),
    "a name is taken": (
        status_input(problems=(Problem(Reason.NAME_TAKEN, "Service small exists"),)),
        Reason.NAME_TAKEN,
        Outlook.STUCK,
        ["Service small exists"],
    ),
    "an old child is on its way out": (
        status_input(problems=(Problem(Reason.CREATING, "waiting for the old Service small"),)),
        Reason.CREATING,
        Outlook.WAITING,
        ["waiting for the old Service small"],
    ),
    "one child leaves and the name of another is taken": (
        status_input(
            problems=(
                Problem(Reason.CREATING, "waiting for the old Service small"),
                Problem(Reason.NAME_TAKEN, "Deployment small exists"),
            )
        ),
        Reason.NAME_TAKEN,
        Outlook.STUCK,
        ["waiting for the old Service small", "Deployment small exists"],
    ),
    "another controller keeps changing the replicas": (
        status_input(
            problems=(Problem(Reason.REPLICAS_CONTESTED, "its number stands for now"),),
            deployment=READY,
        ),
        Reason.REPLICAS_CONTESTED,
        Outlook.STUCK,
        ["its number stands"],
    ),
    "the API server refuses a child": (
        status_input(problems=(Problem(Reason.APPLY_FAILED, "Deployment small: no such class"),)),
        Reason.APPLY_FAILED,
        Outlook.STUCK,
        ["Deployment small: no such class"],
    ),
    "the resource cannot be read": (
        status_input(problems=(Problem(Reason.INVALID_RESOURCE, "spec.replicas: not a number"),)),
        Reason.INVALID_RESOURCE,
        Outlook.STUCK,
        ["spec.replicas: not a number"],
    ),
    "the ConfigMap of the system prompt is missing": (
        status_input(
            problems=(Problem(Reason.CONFIG_MAP_MISSING, "ConfigMap prompt does not exist"),)
        ),
        Reason.CONFIG_MAP_MISSING,
        Outlook.STUCK,
        ["ConfigMap prompt does not exist"],
    ),
    "the claim with the model is missing": (
        status_input(
            problems=(Problem(Reason.CLAIM_MISSING, "PersistentVolumeClaim m is missing"),)
        ),
        Reason.CLAIM_MISSING,
        Outlook.STUCK,
        ["PersistentVolumeClaim m is missing"],
    ),
    "the claim of the cache is bound to what cannot change": (
        status_input(problems=(Problem(Reason.CLAIM_DIFFERS, "accessMode cannot change"),)),
        Reason.CLAIM_DIFFERS,
        Outlook.STUCK,
        ["accessMode cannot change"],
    ),
    "the claim of the cache can never be bound": (
        with_claim(
            status_input(unschedulable_pod(IMMEDIATE)),
            replace(PENDING, cause="StorageClass fast does not exist", hopeless=True),
        ),
        Reason.CLAIM_PENDING,
        Outlook.STUCK,
        ["PersistentVolumeClaim small-model-cache is not bound: StorageClass fast does not exist"],
    ),
    "the claim of the cache is not bound yet": (
        with_claim(status_input(unschedulable_pod(IMMEDIATE), spec={"cache": {}}), PENDING),
        Reason.UNSCHEDULABLE,
        Outlook.WAITING,
        ["waiting for PersistentVolumeClaim small-model-cache to be bound", "The scheduler"],
    ),
    "the claim with the model is not bound yet": (
        status_input(
            unschedulable_pod(IMMEDIATE),
            spec={"model": {"source": {"persistentVolumeClaim": {"claimName": "weights"}}}},
        ),
        Reason.UNSCHEDULABLE,
        Outlook.WAITING,
        ["waiting for PersistentVolumeClaim weights to be bound"],
    ),
    "the claim of a volume is not bound yet": (
        status_input(unschedulable_pod(IMMEDIATE), spec=mounting("data")),
        Reason.UNSCHEDULABLE,
        Outlook.WAITING,
        ["waiting for PersistentVolumeClaim data to be bound"],
    ),
    "the claim of the cache or of a volume is not bound yet": (
        with_claim(
            status_input(unschedulable_pod(IMMEDIATE), spec={"cache": {}} | mounting("data")),
            PENDING,
        ),
        Reason.UNSCHEDULABLE,
        Outlook.WAITING,
        ["one of the PersistentVolumeClaims small-model-cache, data to be bound"],
    ),
    "the claim of a volume is not bound yet, and that of the cache is": (
        with_claim(
            status_input(unschedulable_pod(IMMEDIATE), spec={"cache": {}} | mounting("data")),
            BOUND,
        ),
        Reason.UNSCHEDULABLE,
        Outlook.WAITING,
        ["waiting for PersistentVolumeClaim data to be bound"],
    ),
    "a claim that a webhook adds is not bound yet": (
        status_input(unschedulable_pod(IMMEDIATE)),
        Reason.UNSCHEDULABLE,
        Outlook.WAITING,
        ["waiting for a PersistentVolumeClaim, which something else adds to the pods, to be bound"],
    ),
    "a replica cannot use the claim of another node": (
        with_claim(
            status_input(
                pod_body(waiting_container("PodInitializing")),
                deployment=deployment_body(2, ready=1),
                spec={"replicas": 2},
            ),
            BOUND,
        ),
        Reason.SCALING_UP,
        Outlook.WAITING,
        ["PersistentVolumeClaim small-model-cache is ReadWriteOnce, and only pods on the node"],
    ),
    "a quota refuses the pods": (
        status_input(
            deployment=deployment_body(
                1, replicas=0, conditions=(replica_failure('pods "small" is forbidden: quota'),)
            )
        ),
        Reason.POD_REJECTED,
        Outlook.STUCK,
        ["the API server rejects the pods", "quota"],
    ),
    "no node has enough GPUs": (
        status_input(unschedulable_pod(NO_GPUS), nodes=(node_body(gpus=1), node_body("cpu-0", 0))),
        Reason.NO_FITTING_NODE,
        Outlook.STUCK,
        [
            "pod small-1: ",
            f"needs 2 {GPU} on one node, but the largest node offers 1",
            "lower spec.engine.tensorParallelSize",
            NO_GPUS,
        ],
    ),
    "the only node with GPUs is cordoned": (
        status_input(
            unschedulable_pod(CORDONED),
            nodes=(node_body(spec={"unschedulable": True}), node_body("cpu-0", 0)),
        ),
        Reason.UNSCHEDULABLE,
        Outlook.STUCK,
        [f"node gpu-0, the only one with 2 {GPU}, is cordoned: uncordon one", CORDONED],
    ),
    "all nodes with enough GPUs are cordoned": (
        status_input(
            unschedulable_pod(CORDONED),
            nodes=(
                node_body(spec={"unschedulable": True}),
                node_body("gpu-1", spec={"unschedulable": True}),
                node_body("gpu-2", 1),
            ),
        ),
        Reason.UNSCHEDULABLE,
        Outlook.STUCK,
        [f"all 2 nodes with 2 {GPU} are cordoned: uncordon one"],
    ),
    "a pod finds no node, and the operator knows of none": (
        status_input(unschedulable_pod("no nodes available to schedule pods")),
        Reason.UNSCHEDULABLE,
        Outlook.STUCK,
        ["no nodes available to schedule pods"],
    ),
    "all GPUs are in use": (
        status_input(unschedulable_pod(NO_GPUS), nodes=(node_body(gpus=8),)),
        Reason.UNSCHEDULABLE,
        Outlook.STUCK,
        ["no node can run the pod", "free or add a node", NO_GPUS],
    ),
    "a pod without GPUs finds no node": (
        status_input(
            unschedulable_pod("0/1 nodes are available: 1 Insufficient cpu."),
            spec=ON_CPUS,
            nodes=(node_body(gpus=0),),
        ),
        Reason.UNSCHEDULABLE,
        Outlook.STUCK,
        ["change spec.pod", "Insufficient cpu"],
    ),
    "all nodes that are large enough are in use": (
        status_input(
            requesting("0/1 nodes are available: 1 Insufficient cpu.", cpu="4500m", memory="24Gi"),
            nodes=(node_body(),),
        ),
        Reason.UNSCHEDULABLE,
        Outlook.STUCK,
        ["now (it requests cpu 4500m, memory 24Gi): free or add a node", "resources.requests"],
    ),
    "no node is large enough": (
        status_input(
            requesting("0/1 nodes are available: 1 Insufficient memory.", cpu="4", memory="24Gi"),
            nodes=(node_body(status={"allocatable": {"memory": "24431820Ki"}}),),
        ),
        Reason.NO_FITTING_NODE,
        Outlook.STUCK,
        [
            "a replica requests memory 24Gi, but the largest node offers 23.3Gi",
            "lower spec.pod.resources.requests.memory",
        ],
    ),
    "a node that is large enough is cordoned": (
        status_input(
            requesting("0/2 nodes are available: 1 node(s) were unschedulable.", memory="24Gi"),
            spec=ON_CPUS,
            nodes=(node_body(spec={"unschedulable": True}),),
        ),
        Reason.UNSCHEDULABLE,
        Outlook.STUCK,
        ["no node can run the pod now"],
    ),
    "no node has room, and the model would not fit there": (
        status_input(unschedulable_pod(NO_GPUS), nodes=(node_body(memory_mib=16384),)),
        Reason.DOES_NOT_FIT,
        Outlook.STUCK,
        ["weights take 22.5 of", "Apart from that, pod small-1: no node can run the pod now"],
    ),
}
