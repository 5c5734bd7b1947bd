"""Why a pod has no node, in words that name cause and remedy."""

from collections.abc import Sequence

from mistral_operator.api import Reason, Resource, Spec
from mistral_operator.kube import names
from mistral_operator.kube.plurals import counted
from mistral_operator.kube.quantities import amount_text
from mistral_operator.status.eligible_nodes import selects_nodes
from mistral_operator.status.status_input import StatusInput
from mistral_operator.status.verdict import Outlook, Verdict, stuck, waiting
from mistral_operator.watch.facts import PodFacts
from mistral_operator.watch.nodes import NodeFacts


def not_scheduled_yet(pod: PodFacts) -> Verdict:
    """Return what a pod waits for that no scheduler has looked at."""
    if pod.gates:
        held_by = f"held by {counted(len(pod.gates), 'scheduling gate')}, {', '.join(pod.gates)}"
        return waiting(
            Reason.CREATING,
            f"{held_by}: a queue such as Kueue removes its gate when it has room. If this takes"
            " long, check the queue",
        )
    return waiting(
        Reason.CREATING,
        f"waiting for the scheduler {pod.scheduler}. If this takes long, check that it is"
        " installed, or correct spec.pod.schedulerName",
    )


def unschedulable(status_input: StatusInput, pod: PodFacts) -> Verdict:
    """Return why the scheduler finds no node, after what the operator knows of the nodes."""
    events, reported = status_input.events(pod), f"The scheduler reports: {pod.unschedulable}"
    if events.new_node:
        return waiting(
            Reason.CREATING,
            f"waiting for a node that an autoscaler adds. It reports: {events.new_node}."
            f" {reported}",
        )
    answer = _without_node(status_input, pod)
    if events.undecided and answer.outlook is Outlook.STUCK:
        return waiting(Reason.CREATING, f"waiting for a node. {reported}")
    return Verdict(answer.reason, f"{answer.message}. {reported}", answer.outlook)


def _without_node(status_input: StatusInput, pod: PodFacts) -> Verdict:
    resource, nodes = status_input.resource, status_input.nodes
    if status_input.observed.nodes and not nodes:
        return stuck(
            Reason.NO_FITTING_NODE,
            "no node has the labels that spec.pod.nodeSelector and spec.pod.affinity require:"
            " correct them, or label or add a node",
        )
    if resource.spec.device == "cuda" and nodes and not pod.prefetches:
        answer = _too_few_gpus(resource, nodes)
        if answer is not None:
            return answer
    if "unbound immediate PersistentVolumeClaims" in pod.unschedulable:
        # Every new claim passes through this; `cache.claim` finds one that cannot be bound.
        return waiting(Reason.UNSCHEDULABLE, f"waiting for {_claims(status_input)} to be bound")
    if pod.prefetches:
        return stuck(Reason.UNSCHEDULABLE, _no_node_for_prefetch(status_input))
    if (too_large := _larger_than_any_node(resource.spec, pod, nodes)) is not None:
        return stuck(Reason.NO_FITTING_NODE, too_large)
    requests = ", ".join(f"{name} {amount_text(name, amount)}" for name, amount in pod.requests)
    asks = f" (it requests {requests})" if requests else ""
    return stuck(
        Reason.UNSCHEDULABLE,
        f"no node can run the pod now{asks}: free or add a node, or change spec.pod, such as its"
        " resources.requests",
    )


def _no_node_for_prefetch(status_input: StatusInput) -> str:
    """Say that the pod that fetches the model has no node, and which it needs."""
    placement = status_input.prefetch.placement
    none = "none of the nodes with the GPUs of a replica" if placement.nodes else "no node"
    if placement.beside_replicas:
        none = "no node of a replica, where the ReadWriteOnce claim is mounted,"
    return (
        f"{none} can run the pod that fetches the model: free resources there, lower"
        " spec.pod.fetchResources, or change spec.pod"
    )


def _too_few_gpus(resource: Resource, nodes: tuple[NodeFacts, ...]) -> Verdict | None:
    """Return that no node has the GPUs of a replica, or that each that has is cordoned."""
    needed, gpu = resource.spec.engine.tensor_parallel_size, resource.spec.pod.gpu.resource_name
    enough = [node for node in nodes if node.count(gpu) >= needed]
    if not enough:
        most = max(node.count(gpu) for node in nodes)
        return stuck(
            Reason.NO_FITTING_NODE,
            f"a replica needs {needed} {gpu} on one node, but the largest"
            f" {_selected(resource.spec)}node offers {most}:"
            " add a larger node, lower spec.engine.tensorParallelSize (see ModelFits), or correct"
            " spec.pod.gpu.resourceName",
        )
    if all(node.cordoned for node in enough):
        return stuck(Reason.UNSCHEDULABLE, all_cordoned(resource.spec, enough))
    return None


def all_cordoned(spec: Spec, nodes: Sequence[NodeFacts]) -> str:
    """Say that the nodes that are large enough are cordoned."""
    needed, gpu = spec.engine.tensor_parallel_size, spec.pod.gpu.resource_name
    subject = (
        f"node {nodes[0].name}, the only one with {needed} {gpu}, is"
        if len(nodes) == 1
        else f"all {len(nodes)} nodes with {needed} {gpu} are"
    )
    return f"{subject} cordoned: uncordon one, or add a node"


def _larger_than_any_node(spec: Spec, pod: PodFacts, nodes: tuple[NodeFacts, ...]) -> str | None:
    """Return what a pod requests of which no node has as much, even if nothing else runs on it."""
    for name, amount in pod.requests:
        sizes = [dict(node.size)[name] for node in nodes if name in dict(node.size)]
        if sizes and max(sizes) < amount:
            return (
                f"a replica requests {name} {amount_text(name, amount)}, but the largest"
                f" {_selected(spec)}node offers {amount_text(name, max(sizes))}: add a larger node,"
                f" or lower spec.pod.resources.requests.{name}"
            )
    return None


def _selected(spec: Spec) -> str:
    """Return what to call the nodes that the pods may use, where these are not all."""
    return "selected " if selects_nodes(spec) else ""


def _claims(status_input: StatusInput) -> str:
    """Name the claims that the pods mount, without that of the cache if it has a volume."""
    spec, cache = status_input.resource.spec, status_input.observed.claim
    source = spec.model.source.persistent_volume_claim
    volumes = (one.persistent_volume_claim for one in spec.pod.volumes)
    claims = [one.claim_name for one in (source, *volumes) if one is not None]
    if spec.cache is not None and (cache is None or not cache.usable):
        claims.insert(0, names.cache_claim(status_input.resource.name))
    if not claims:
        return "a PersistentVolumeClaim, which something else adds to the pods,"
    kind = "PersistentVolumeClaim" if len(claims) == 1 else "one of the PersistentVolumeClaims"
    return f"{kind} {', '.join(dict.fromkeys(claims))}"
