"""Facts of live DaemonSets, and of how far their pods have pulled images. Pure."""

from dataclasses import dataclass

from mistral_operator.kube import names
from mistral_operator.kube.objects import Body
from mistral_operator.watch.facts import pod_facts


@dataclass(frozen=True, slots=True)
class DaemonSetFacts:
    """A DaemonSet that pulls images."""

    created: str = ""
    """When it was created, as RFC 3339."""
    observed: bool = False
    """The controller has seen its newest version, so the number of nodes is that of the version."""
    nodes: int = 0
    """Nodes that need a pod: without those whose taints keep it away."""
    ready: int = 0
    """Nodes whose pod runs."""


def daemon_set_facts(body: Body) -> DaemonSetFacts:
    """Return the facts of a DaemonSet."""
    metadata, status = body["metadata"], body.get("status", {})
    return DaemonSetFacts(
        created=metadata.get("creationTimestamp") or "",
        observed=status.get("observedGeneration", 0) >= metadata.get("generation", 1),
        nodes=status.get("desiredNumberScheduled", 0),
        ready=status.get("numberReady", 0),
    )


@dataclass(frozen=True, slots=True)
class PullFacts:
    """How far one node has pulled."""

    node: str
    pulled: bool = False
    """It has the images."""
    failure: str = ""
    """What the kubelet reports if it cannot pull them."""
    unscheduled: str = ""
    """What the scheduler reports if the node has no room for the pod."""


def pull_facts(body: Body) -> PullFacts:
    """Return how far the node of a pod has pulled.

    A container that cannot be created or exits has its images: they are pulled first.
    """
    facts = pod_facts(body)
    container = facts.container(names.PREPULL_CONTAINER)
    failure, pulled = "", False
    if container is not None and container.cannot_pull:
        failure = f"{container.waiting_reason}: {container.waiting_message}"
    elif container is not None:
        begins = container.waiting_reason in {"", "ContainerCreating", "PodInitializing"}
        pulled = container.running or container.exit_code is not None or not begins
    return PullFacts(_node(body), pulled, failure, facts.unschedulable)


def _node(body: Body) -> str:
    """Return the node of a pod. Before it is scheduled, the controller has named it in a term."""
    spec = body.get("spec", {})
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    required = spec.get("affinity", {}).get("nodeAffinity", {})
    terms = required.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get(
        "nodeSelectorTerms", ()
    )
    fields = (one for term in terms for one in term.get("matchFields", ()))
    return next((str(value) for one in fields for value in one.get("values", ())), "")
