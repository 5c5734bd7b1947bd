"""When a Job fetches the model, and what of the Deployment waits for it. Pure.

The Deployment remembers: an annotation says which model of its pods is on which claim. A Job exists
only from the decision until that is said, so an operator that takes over in between decides the
same, and nothing creates the Job again.
"""

from dataclasses import dataclass

from mistral_operator.api import Resource
from mistral_operator.kube import names
from mistral_operator.prefetch import Placement, Prefetch, PrefetchPhase
from mistral_operator.render import RenderContext
from mistral_operator.render.deployment import deployment
from mistral_operator.render.metadata import KubernetesObject, with_applied_digest
from mistral_operator.render.prefetch import HOSTNAME, prefetch_job, prefetch_mark
from mistral_operator.status.cache import is_on_one_node
from mistral_operator.status.eligible_nodes import eligible_nodes
from mistral_operator.watch.deployments import DeploymentFacts, template_digest
from mistral_operator.watch.facts import ClaimFacts, PodFacts
from mistral_operator.watch.jobs import JobFacts
from mistral_operator.watch.nodes import NodeFacts

MOST_NODES = 100
"""Nodes that a Job names, so that it stays small: any of them will do."""


@dataclass(frozen=True, slots=True)
class PrefetchInputs:
    """What the decision depends on besides the resource."""

    context: RenderContext
    claim: ClaimFacts | None = None
    """The claim of the cache, if it exists and belongs to the resource."""
    job: JobFacts | None = None
    """The Job, if it exists and belongs to the resource."""
    deployment: DeploymentFacts | None = None
    replicas: tuple[PodFacts, ...] = ()
    prefetch_pods: tuple[PodFacts, ...] = ()
    nodes: tuple[NodeFacts, ...] = ()


def decide_prefetch(running: Resource, inputs: PrefetchInputs) -> Prefetch:
    """Return whether the model of an endpoint is fetched in advance.

    Args:
        running: the endpoint as it is to run.
        inputs: what is observed.
    """
    spec, claim, facts = running.spec, inputs.claim, inputs.deployment
    if not spec.prefetches:
        return Prefetch()
    if claim is None:
        waits = PrefetchPhase.NONE if spec.suspend else PrefetchPhase.CLAIM
        return Prefetch(waits, replicas=_replicas(running, inputs))
    mark = prefetch_mark(running, claim)
    if facts is not None and facts.prefetched == mark:
        return Prefetch(PrefetchPhase.RECORDED, mark)
    if spec.suspend:
        return Prefetch()
    if facts is not None and _has_template(running, inputs.context, facts):
        # It was rolled out without a prefetch: a replica that is ready has fetched the model.
        has_fetched = facts.all_updated and facts.ready > 0
        return Prefetch(PrefetchPhase.RECORDED if has_fetched else PrefetchPhase.NONE, mark)
    return _with_job(running, inputs, mark)


def _with_job(running: Resource, inputs: PrefetchInputs, mark: str) -> Prefetch:
    placement, job = _placement(running, inputs), inputs.job
    if placement is None and job is None:
        return Prefetch(PrefetchPhase.UNPLACED)
    placement = placement or Placement()
    replicas = _replicas(running, inputs)
    fetching = Prefetch(PrefetchPhase.FETCHING, mark, placement, replicas=replicas)
    if job is None:
        return fetching
    want = _annotations(prefetch_job(running, inputs.context, mark, placement))
    if job.configuration != want[names.ANNOTATION_CONFIGURATION]:
        return Prefetch(PrefetchPhase.REPLACING, mark, replicas=replicas)
    pods = [
        pod
        for pod in inputs.prefetch_pods
        if pod.configuration == job.configuration and not pod.terminating
    ]
    if job.succeeded or any(pod.has_fetched for pod in pods):
        return Prefetch(PrefetchPhase.FETCHED, mark, placement, keeps_job=True)
    moved = job.applied != want[names.ANNOTATION_APPLIED]
    if any(_is_misplaced(pod, inputs, moved=moved) for pod in pods):
        return Prefetch(PrefetchPhase.REPLACING, mark, replicas=replicas)
    return Prefetch(PrefetchPhase.FETCHING, mark, placement, keeps_job=True, replicas=replicas)


def _annotations(rendered: KubernetesObject) -> dict[str, str]:
    annotations: dict[str, str] = with_applied_digest(rendered)["metadata"]["annotations"]
    return annotations


def _has_template(running: Resource, context: RenderContext, facts: DeploymentFacts) -> bool:
    """Return whether the Deployment has replicas of the newest template already."""
    template = deployment(running, context)["spec"]["template"]
    return facts.desired > 0 and facts.template == template_digest(template)


def _replicas(running: Resource, inputs: PrefetchInputs) -> int | None:
    """Return the replicas of the Deployment meanwhile.

    They follow the resource if the model of these pods is on this claim. Otherwise none is added:
    it would hold its GPUs while it fetches.
    """
    facts, claim = inputs.deployment, inputs.claim
    desired = 0 if running.spec.suspend else running.spec.replicas
    if facts is None:
        return None
    if claim is not None and facts.prefetched.startswith(f"{claim.uid}/"):
        return desired
    return min(desired, facts.desired)


def _placement(running: Resource, inputs: PrefetchInputs) -> Placement | None:
    """Return where the Job has to run, None if that is not known yet.

    The first pod that mounts a claim often decides where its volume is created: in a zone, or on a
    node. Without this, the volume could be where there are no GPUs.
    """
    claim = inputs.claim
    if claim is None or claim.bound:
        return Placement(beside_replicas=bool(_homes(inputs)))
    if running.spec.device != "cuda":
        return Placement()
    needed, gpu = running.spec.engine.tensor_parallel_size, running.spec.pod.gpu.resource_name
    nodes = [
        dict(node.labels).get(HOSTNAME, "")
        for node in eligible_nodes(running.spec, inputs.nodes)
        if node.count(gpu) >= needed and not node.cordoned
    ]
    named = sorted({*nodes} - {""})[:MOST_NODES]
    return Placement(nodes=tuple(named)) if named else None


def _homes(inputs: PrefetchInputs) -> set[str]:
    """Return the nodes on which replicas have mounted a claim that can be on one node only."""
    if inputs.claim is None or not is_on_one_node(inputs.claim):
        return set()
    return {pod.node for pod in inputs.replicas if pod.node and not pod.terminating}


def _is_misplaced(pod: PodFacts, inputs: PrefetchInputs, *, moved: bool) -> bool:
    """Return whether a pod of the Job can never run, or keeps the volume from a replica.

    Args:
        pod: the pod.
        inputs: what is observed.
        moved: a new Job would be placed elsewhere.
    """
    homes = _homes(inputs)
    if pod.node:
        return bool(homes) and pod.node not in homes
    return bool(pod.unschedulable) and moved
