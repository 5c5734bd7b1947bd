"""The Job that fetches the model to the claim of the cache, before pods need it.

Its pod is that of a replica without the server: the same init container as the only container, the
same user, token, proxies and tolerations, and no GPU.
"""

from typing import Any

from mistral_operator.api import Resource
from mistral_operator.api.pod import to_kubernetes, without_empty
from mistral_operator.kube import names
from mistral_operator.prefetch import Placement
from mistral_operator.render.context import RenderContext
from mistral_operator.render.metadata import KubernetesObject, child, digest
from mistral_operator.render.pod import pod_spec
from mistral_operator.render.server_settings import fetch_settings
from mistral_operator.watch.facts import ClaimFacts

HOSTNAME = "kubernetes.io/hostname"
"""Label with the name of a node, which the kubelet sets."""

_ATTEMPTS = 2**31 - 1
"""The kubelet restarts the container after at most five minutes, as it does in a replica. So a
corrected Secret needs no edit of the resource, and the pod keeps the report of the last failure:
that of a Job which has given up is deleted."""

_STOP_SECONDS = 5
"""A fetch has nothing to finish: the next one goes on with the files that are complete."""

_WITHOUT_ISTIO = {"sidecar.istio.io/inject": "false"}
_WITHOUT_LINKERD = {"linkerd.io/inject": "disabled"}
"""A proxy that never ends would keep the Job from completing, and its volume on its node. In a
replica the fetch has no proxy either: it precedes them."""

_OF_REPLICAS = {"affinity", "initContainers", "topologySpreadConstraints"}
"""Fields of the pod of a replica that its fetch does not need."""


def prefetch_mark(resource: Resource, claim: ClaimFacts) -> str:
    """Return which model is on which claim, once it is fetched."""
    fetch = fetch_settings(resource.spec)
    identity = {"repository", "revision", "directory", "format"}
    model = {} if fetch is None else fetch.model_dump(include=identity)
    return f"{claim.uid}/{digest(model)}"


def prefetch_job(
    resource: Resource, context: RenderContext, mark: str, placement: Placement
) -> KubernetesObject:
    """Return the Job."""
    own = resource.spec.pod
    labels = {**own.labels, **_WITHOUT_ISTIO, **names.prefetch_labels(resource.name)}
    annotations = {**own.annotations, **_WITHOUT_ISTIO, **_WITHOUT_LINKERD}
    pod = _pod(resource, context)
    runs = {"mark": mark, "labels": labels, "annotations": annotations, "spec": pod}
    configuration = {names.ANNOTATION_CONFIGURATION: digest(runs)}
    affinity = _affinity(resource, placement)
    return child(
        resource,
        "batch/v1",
        "Job",
        names.prefetch(resource.name),
        annotations=configuration,
        spec={
            "backoffLimit": _ATTEMPTS,
            "template": {
                "metadata": {"labels": labels, "annotations": {**annotations, **configuration}},
                "spec": {**pod, **({"affinity": affinity} if affinity else {})},
            },
        },
    )


def _pod(resource: Resource, context: RenderContext) -> dict[str, Any]:
    """Return the pod without its placement."""
    replica = pod_spec(resource, context)
    (fetch,) = replica["initContainers"]
    mounted = {one["name"] for one in fetch["volumeMounts"]}
    return {
        **{field: value for field, value in replica.items() if field not in _OF_REPLICAS},
        "restartPolicy": "OnFailure",
        "terminationGracePeriodSeconds": _STOP_SECONDS,
        "containers": [fetch],
        "volumes": [one for one in replica["volumes"] if one["name"] in mounted],
    }


def _affinity(resource: Resource, placement: Placement) -> dict[str, Any]:
    """Return the nodes of the replicas, and within them those where the volume can be mounted.

    Required and not preferred: elsewhere the pod would wait for the volume until the replica ends,
    and the replica stays until the pod has fetched.
    """
    affinity: dict[str, Any] = {}
    chosen = resource.spec.pod.affinity
    if chosen is not None and chosen.node_affinity is not None:
        affinity["nodeAffinity"] = without_empty(to_kubernetes(chosen.node_affinity))
    if placement.nodes:
        affinity["nodeAffinity"] = _within(affinity.get("nodeAffinity", {}), placement.nodes)
    if placement.beside_replicas:
        selector = {"matchLabels": names.selector(resource.name)}
        term = {"labelSelector": selector, "topologyKey": HOSTNAME}
        affinity["podAffinity"] = {_REQUIRED: [term]}
    return affinity


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def _within(affinity: dict[str, Any], nodes: tuple[str, ...]) -> dict[str, Any]:
    """Return a node affinity, each of whose terms also requires one of some nodes."""
    required = {"key": HOSTNAME, "operator": "In", "values": [*nodes]}
    terms = affinity.get(_REQUIRED, {}).get("nodeSelectorTerms", [{}])
    narrowed = [
        {**one, "matchExpressions": [*one.get("matchExpressions", []), required]} for one in terms
    ]
    return {**affinity, _REQUIRED: {"nodeSelectorTerms": narrowed}}
