"""When the activators queue the requests of an endpoint that has no ready replica. Pure.

Two cases. An edit is about to replace the only replica: the activators are behind the Service
first, and only then is the Deployment changed. Or the last replica is gone already: drained,
deleted, crashed. In both they stay until they see a ready replica themselves.
"""

from dataclasses import dataclass, field

from mistral_operator.api import Reason, Resource
from mistral_operator.kube import names
from mistral_operator.render import RenderContext
from mistral_operator.render.deployment import deployment
from mistral_operator.render.metadata import with_applied_digest
from mistral_operator.scale_to_zero import Activators, can_scale_to_zero
from mistral_operator.status.hold import Hold, HoldPhase
from mistral_operator.watch.deployments import DeploymentFacts, template_digest
from mistral_operator.watch.facts import PodFacts

TAKEOVER_SECONDS = 30.0
"""How long an edit waits for the activators, at most. They take a second."""
PORT_SECONDS = 600.0
"""How long an edit waits for a port. When an upgrade replaces the pods of a whole namespace, each
port becomes free when the replica before is ready."""
SLOW_SECONDS = 5.0
"""How long activators that do not say which ports they have are waited for."""
AGAIN_SECONDS = 10.0
"""Time between two attempts to write a port map that the API server rejects."""
UNCHANGED_SECONDS = 60.0
"""How long the activators are behind the Service of a replica that is about to be replaced. If the
API server rejects the new Deployment, it never is."""
BLIND_SECONDS = 60.0
"""How long the activators stay behind the Service of a replica that serves and that they do not
see: then they see nothing at all."""


@dataclass(frozen=True, slots=True)
class HoldInputs:
    """What the decision depends on besides the resource."""

    context: RenderContext
    enabled: bool = False
    """The installation has activators."""
    ready: bool = False
    """An activator is ready."""
    was_ready: bool = False
    """A replica was ready at the last pass, or the activators were needed already."""
    deployment: DeploymentFacts | None = None
    prefetched: str = ""
    """What the Deployment is to say of its model, if that was fetched in advance."""
    pods: tuple[PodFacts, ...] = ()
    activators: Activators = field(default_factory=Activators)
    """Those that may receive its requests."""
    port: int | None = None
    """Port of the activators for this endpoint."""
    refusal: str = ""
    """Why it gets none."""
    queued: bool = False
    """It gets one when another endpoint needs its port no more."""
    published: bool = False
    """The port map has the port."""
    listening: bool = False
    """An activator listens on it."""
    edit_waits: bool = False
    """An edit waits for something else first, such as its images."""
    serve: bool = False
    """The live slice has the activators behind the Service."""
    phase: HoldPhase = HoldPhase.NONE
    """Phase of the last decision."""
    was_refused: bool = False
    """Something kept the activators from taking over then."""
    waited: float = 0.0
    """Seconds since that phase began, or since that changed."""


def decide_hold(running: Resource, inputs: HoldInputs) -> Hold:
    """Return whether the activators queue the requests of an endpoint.

    Args:
        running: the endpoint as it is to run.
        inputs: what is observed.
    """
    spec = running.spec
    if not inputs.enabled or spec.rollout.hold == "Never" or spec.suspend or not spec.replicas:
        return Hold()
    if not any(pod.serves for pod in inputs.pods):
        return _without_replica(running, inputs)
    if _replaces_last(running, inputs):
        return _before(inputs)
    if inputs.serve and not _is_over(running, inputs):
        left = BLIND_SECONDS - _waited(inputs, HoldPhase.AFTER)
        return Hold(HoldPhase.AFTER, serves=True, again=left + 0.1 if left > 0 else None)
    return Hold()


def _without_replica(running: Resource, inputs: HoldInputs) -> Hold:
    has_port = inputs.port is not None and not can_scale_to_zero(running.spec)
    if not (inputs.was_ready or has_port):
        return Hold()  # it has never served
    phase = HoldPhase.WITHOUT
    refused = _refused(inputs)
    if refused is not None:
        return Hold(phase, refusal=refused[0], why=refused[1])
    waited = _waited(inputs, phase)
    slow = inputs.published and waited >= SLOW_SECONDS and bool(inputs.activators.addresses)
    if inputs.listening or inputs.serve or slow:
        return Hold(phase, serves=True)
    left = SLOW_SECONDS - waited
    if left > 0:
        return Hold(phase, again=left + 0.1)
    return Hold(phase, why=_NONE_LISTENS, again=AGAIN_SECONDS)


_NONE_LISTENS = (
    "no activator listens on the port of this endpoint; the logs of operator and activators say why"
    f" ConfigMap {names.PORT_MAP} cannot be written or read"
)


def _before(inputs: HoldInputs) -> Hold:
    phase = HoldPhase.BEFORE
    waited = _waited(inputs, phase)
    refused = _refused(inputs)
    limit = TAKEOVER_SECONDS
    if refused is not None:
        limit = PORT_SECONDS if inputs.queued else 0.0
    left = limit - waited
    keeps = left > 0 and not inputs.serve
    if refused is not None:
        return Hold(phase, False, keeps, *refused, left + 0.1 if keeps else None)
    serves = (inputs.serve or inputs.listening) and waited < UNCHANGED_SECONDS
    if serves and not keeps:
        left = UNCHANGED_SECONDS - waited
    return Hold(phase, serves, keeps, again=left + 0.1 if keeps or serves else None)


def _waited(inputs: HoldInputs, phase: HoldPhase) -> float:
    same = (inputs.phase, inputs.was_refused) == (phase, _refused(inputs) is not None)
    return inputs.waited if same else 0.0


def _refused(inputs: HoldInputs) -> tuple[Reason, str] | None:
    """Return why the activators cannot take over."""
    if not inputs.ready:
        why = "no activator is ready to queue them, so check the Deployment of the activator"
        return Reason.ACTIVATOR_MISSING, why
    if inputs.refusal:
        remedy = ". Raise activator.portsPerNamespace of the chart" if inputs.queued else ""
        return Reason.NO_PORT, f"{inputs.refusal}{remedy}"
    return None


def _replaces_last(running: Resource, inputs: HoldInputs) -> bool:
    """Return whether applying the Deployment would replace the only replica."""
    facts, rollout = inputs.deployment, running.spec.rollout
    if facts is None or running.spec.replicas != 1 or rollout.max_surge or rollout.paused:
        return False
    if inputs.edit_waits:
        return False  # not yet
    rendered = with_applied_digest(deployment(running, inputs.context, inputs.prefetched))
    if rendered["metadata"]["annotations"][names.ANNOTATION_APPLIED] == facts.applied:
        return False
    # Of a surge that found no GPUs, or while the Deployment is paused.
    waits = not facts.all_updated
    return waits or template_digest(rendered["spec"]["template"]) != facts.template


def _is_over(running: Resource, inputs: HoldInputs) -> bool:
    """Return whether a replica serves that stays, and the activators see it."""
    seen = inputs.activators.targets.get((running.namespace, running.name))
    blind = _waited(inputs, HoldPhase.AFTER) >= BLIND_SECONDS
    if not (seen or blind or can_scale_to_zero(running.spec)):
        # What can scale to zero has a slice anyway, with addresses until they see the replica.
        return False
    facts, rollout = inputs.deployment, running.spec.rollout
    if running.spec.replicas > 1 or rollout.max_surge or facts is None or facts.paused:
        return True
    # Between a changed Deployment and the end of the old pod, that one still counts as ready.
    return facts.all_updated
