"""When an edit waits until the nodes have pulled its images. Pure.

Everything that the decision depends on is in the cluster: the images of the live Deployment say
whether an edit of them waits, the age of the DaemonSet says for how long, and its pods say which
nodes have pulled. So an operator that takes over decides the same.
"""

from dataclasses import dataclass, replace

from mistral_operator.api import Resource, Spec
from mistral_operator.kube import names
from mistral_operator.render import RenderContext
from mistral_operator.render.deployment import deployment
from mistral_operator.render.metadata import with_applied_digest
from mistral_operator.render.prepull import images
from mistral_operator.scale_to_zero import can_scale_to_zero
from mistral_operator.status.eligible_nodes import eligible_nodes
from mistral_operator.status.prepull import Prepull
from mistral_operator.watch.daemon_sets import DaemonSetFacts, PullFacts
from mistral_operator.watch.deployments import DeploymentFacts
from mistral_operator.watch.nodes import NodeFacts

POLL_SECONDS = 10.0
"""How often the pods are read. A pull takes minutes."""


@dataclass(frozen=True, slots=True)
class PrepullInputs:
    """What the decision depends on besides the resource."""

    context: RenderContext
    deployment: DeploymentFacts | None = None
    nodes: tuple[NodeFacts, ...] = ()
    daemon_set: DaemonSetFacts | None = None
    """The DaemonSet that pulls what is desired now, if it exists."""
    age: float = 0.0
    """Seconds since it was created."""
    pulls: tuple[PullFacts, ...] = ()
    """How far its pods have pulled."""
    rejection: str = ""
    """Why it has fewer pods than nodes."""


def decide_prepull(running: Resource, inputs: PrepullInputs) -> Prepull:
    """Return which nodes pull images, and whether the edit that needs them waits.

    Args:
        running: the endpoint as it is to run.
        inputs: what is observed.
    """
    spec, live = running.spec, inputs.daemon_set
    waits = _may_wait(spec) and _has_new_images(running, inputs)
    nodes = fitting_nodes(spec, inputs.nodes) if waits or _goes_on(spec, inputs) else ()
    if not nodes:
        return Prepull()
    prepull = Prepull(
        nodes,
        images=images(running, inputs.context),
        pulled=max(live.ready if live else 0, sum(one.pulled for one in inputs.pulls)),
        total=live.nodes if live is not None and live.observed else len(nodes),
        missing=tuple(one for one in inputs.pulls if one.failure or one.unscheduled),
        rejection=inputs.rejection,
        seconds=spec.rollout.prepull_seconds,
    )
    if prepull.is_complete:
        return prepull
    left = spec.rollout.prepull_seconds - inputs.age
    keeps = waits and (left > 0 or prepull.is_impossible)
    again = min(POLL_SECONDS, left + 0.1) if left > 0 else POLL_SECONDS
    return replace(prepull, keeps_template=keeps, again=again)


def fitting_nodes(spec: Spec, nodes: tuple[NodeFacts, ...]) -> tuple[str, ...]:
    """Return the nodes that can run a replica when their GPUs are free. Taints are left out."""
    needed, gpu = spec.engine.tensor_parallel_size, spec.pod.gpu.resource_name
    return tuple(
        sorted(
            node.name
            for node in eligible_nodes(spec, nodes)
            if node.ready
            and not node.cordoned
            and (spec.device != "cuda" or node.count(gpu) >= needed)
        )
    )


def _may_wait(spec: Spec) -> bool:
    """Return whether pods may be replaced or started; otherwise an edit is applied at once."""
    if spec.rollout.prepull == "Never" or spec.suspend:
        return False
    return spec.replicas > 0 or can_scale_to_zero(spec)


def _has_new_images(running: Resource, inputs: PrepullInputs) -> bool:
    """Return whether applying the Deployment would bring images that its pods do not have."""
    facts = inputs.deployment
    if facts is None or not set(images(running, inputs.context)) - set(facts.images):
        return False
    # An edit by others, of the live Deployment, is undone and does not wait.
    rendered = with_applied_digest(deployment(running, inputs.context))
    return bool(rendered["metadata"]["annotations"][names.ANNOTATION_APPLIED] != facts.applied)


def _goes_on(spec: Spec, inputs: PrepullInputs) -> bool:
    """Return whether nodes go on pulling while the edit rolls out.

    The pods keep the images from being deleted until those of the endpoint use them.
    """
    facts = inputs.deployment
    if facts is None or inputs.daemon_set is None or not _may_wait(spec):
        return False
    return not (facts.settled or facts.paused)
