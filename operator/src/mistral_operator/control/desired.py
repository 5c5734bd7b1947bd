"""What a resource is to become, with the reasons: one value for each pass. Pure.

In this order: autoscaling sets the replicas, remedies against out-of-memory failures set the
engine's settings, an edit waits until its model is fetched and the nodes have pulled its images,
and the last replica stays until the activators serve in its place, whether it is to go for good or
to be replaced.
"""

from dataclasses import dataclass, field, replace

from mistral_operator.api import AutoscalingStatus, Oom, Resource, ScalingReason, Status
from mistral_operator.control.hold import HoldInputs, decide_hold
from mistral_operator.control.prefetch import PrefetchInputs, decide_prefetch
from mistral_operator.control.prepull import PrepullInputs, decide_prepull
from mistral_operator.kube.plurals import counted
from mistral_operator.kube.timestamps import to_seconds
from mistral_operator.oom import (
    RemedyInputs,
    decide,
    effective_resource,
    failures_of,
    seconds_until_quiet,
    settings_in_force,
)
from mistral_operator.prefetch import Prefetch
from mistral_operator.render import RenderContext
from mistral_operator.render.pod import configuration_digest
from mistral_operator.scale_to_zero import (
    ActivatorRoute,
    Activators,
    activator_route,
    can_scale_to_zero,
)
from mistral_operator.status.hold import Hold
from mistral_operator.status.prepull import Prepull
from mistral_operator.watch.deployments import DeploymentFacts
from mistral_operator.watch.facts import PodFacts


@dataclass(frozen=True, slots=True)
class DecisionInputs:
    """What a decision depends on besides the resource and its last status."""

    now: str
    context: RenderContext
    scaling: AutoscalingStatus | None = None
    """What the operator's own autoscaling decided; None if it does not scale the resource."""
    pods: tuple[PodFacts, ...] = ()
    deleted_pods: tuple[PodFacts, ...] = ()
    """Pods that failed and were deleted before their failures were recorded."""
    deployment: DeploymentFacts | None = None
    activators: Activators = field(default_factory=Activators)
    activator_port: int | None = None
    """Port of the activators for this endpoint; None if it has none now."""
    activators_serve: bool = False
    """The live slice has the activators behind the Service."""
    hold: HoldInputs | None = None
    """What else decides whether the activators serve in place of the last replica."""
    prefetch: PrefetchInputs | None = None
    """What decides whether the model is fetched in advance; None if it never is."""
    prepull: PrepullInputs | None = None
    """What else decides whether an edit waits until the nodes have pulled its images."""


@dataclass(frozen=True, slots=True)
class Desired:
    """What a resource is to become."""

    written: Resource
    """As its user wrote it."""
    running: Resource
    """As it is to run: with the replicas and settings that were decided."""
    scaling: AutoscalingStatus | None = None
    """Replicas that autoscaling decided on, with its reason."""
    oom: Oom | None = None
    """Out-of-memory failures, and each setting that is overridden because of them."""
    activation: ActivatorRoute | None = None
    """Where the activators serve in place of replicas."""
    hold: Hold = field(default_factory=Hold)
    """Whether they do because the last replica is replaced or gone."""
    prefetch: Prefetch = field(default_factory=Prefetch)
    """Whether the model is fetched in advance."""
    prepull: Prepull = field(default_factory=Prepull)
    """Which nodes pull the images of an edit ahead of it."""
    deleted_pods: tuple[PodFacts, ...] = ()
    """Deleted pods whose failures are in `oom`."""

    @property
    def replicas(self) -> int:
        """Requested replicas, even where none can start or the last one has to stay."""
        return self.written.spec.replicas if self.scaling is None else self.scaling.replicas

    @property
    def keeps_template(self) -> bool:
        """Whether an edit waits: the Deployment keeps its pods as they are."""
        waits = self.prefetch.holds or self.prepull.keeps_template
        return waits or self.hold.keeps_template

    @property
    def waiting_replicas(self) -> int | None:
        """Replicas meanwhile; None if they may wait, too: the edit is rolled out in a moment."""
        if self.prefetch.holds:
            return self.prefetch.replicas
        return self.running.spec.replicas if self.prepull.keeps_template else None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the resource runs otherwise than its user wrote it, each in a sentence."""
        reasons = []
        if self.scaling is not None and self.scaling.replicas != self.written.spec.replicas:
            reasons.append(f"autoscaling, {self.scaling.reason}: {self.scaling.message}")
        if self._is_kept_awake:
            kept = counted(self.running.spec.replicas, "replica")
            reasons.append(f"{kept} kept until the activators are behind the Service")
        if self.prefetch.holds:
            reasons.append(f"the pods wait for their model: {self.prefetch.phase}")
        if self.prepull.nodes:
            reasons.append(f"nodes pull images ahead of time: {self.prepull.progress}")
        if self.hold.needed:
            reasons.append(f"the activators are needed: {self.hold.phase}")
        if self.oom is not None and self.oom.stopped:
            reasons.append(f"stopped after {self.oom.streak} failures with {self.oom.active}")
        if self.oom is not None and self.oom.overrides is not None:
            settings = {step.setting: step for step in self.oom.steps if step.outcome != "Reverted"}
            reasons += [f"{one.setting} {one.after}: {one.reason}" for one in settings.values()]
        return tuple(reasons)

    @property
    def _is_kept_awake(self) -> bool:
        return not self.replicas and bool(self.running.spec.replicas)

    def to_record(self, previous: Status) -> Status | None:
        """Return the status that records the decisions before they are acted on.

        None if they are recorded, or if an operator without the record would decide the same.
        """
        if not (self.scales_anew(previous) or _visible(self.oom) != _visible(previous.oom)):
            return None
        return previous.model_copy(update={"oom": self.oom, "autoscaling": self.scaling})

    def scales_anew(self, previous: Status) -> bool:
        """Tell whether autoscaling decided on another number of replicas."""
        if self.scaling is None:
            return False
        if previous.autoscaling is None:
            return self.scaling.reason not in {ScalingReason.STARTED, ScalingReason.STOPPED}
        return previous.autoscaling.replicas != self.scaling.replicas


def decide_desired(written: Resource, previous: Status, inputs: DecisionInputs) -> Desired:
    """Return what a resource is to become."""
    scaled = written if inputs.scaling is None else written.scaled_to(inputs.scaling.replicas)
    oom = _decide_oom(scaled, previous, inputs)
    stopped = oom is not None and oom.stopped
    # The requests to an endpoint that cannot start are not held.
    port = None if stopped else inputs.activator_port
    running = effective_resource(_kept_awake(scaled, inputs), oom)
    prefetch = _decide_prefetch(running, inputs)
    prepull = Prepull() if stopped else _decide_prepull(running, inputs)
    hold = Hold() if stopped else _decide_hold(running, inputs, prefetch, prepull)
    return Desired(
        written,
        running=running,
        scaling=inputs.scaling,
        oom=oom,
        activation=(
            None
            if port is None
            else activator_route(scaled, port, inputs.activators, held=hold.serves)
        ),
        hold=hold,
        prefetch=prefetch,
        prepull=prepull,
        deleted_pods=inputs.deleted_pods,
    )


def _decide_prefetch(running: Resource, inputs: DecisionInputs) -> Prefetch:
    return Prefetch() if inputs.prefetch is None else decide_prefetch(running, inputs.prefetch)


def _decide_prepull(running: Resource, inputs: DecisionInputs) -> Prepull:
    if inputs.prepull is None:
        return Prepull()
    return decide_prepull(running, replace(inputs.prepull, deployment=inputs.deployment))


def _decide_hold(
    running: Resource, inputs: DecisionInputs, prefetch: Prefetch, prepull: Prepull
) -> Hold:
    if inputs.hold is None:
        return Hold()
    observed = replace(
        inputs.hold,
        deployment=inputs.deployment,
        prefetched=prefetch.recorded,
        pods=inputs.pods,
        activators=inputs.activators,
        port=inputs.activator_port,
        serve=inputs.activators_serve,
        edit_waits=prefetch.holds or prepull.keeps_template,
    )
    return decide_hold(running, observed)


def _kept_awake(scaled: Resource, inputs: DecisionInputs) -> Resource:
    """Return the resource with its current replicas, if they may not go to zero yet.

    Whatever takes the last replica away, the activators have to be behind the Service first.
    """
    facts = inputs.deployment
    if scaled.spec.replicas or facts is None or not can_scale_to_zero(scaled.spec):
        return scaled
    return scaled if inputs.activators_serve else scaled.scaled_to(facts.desired)


def _decide_oom(scaled: Resource, previous: Status, inputs: DecisionInputs) -> Oom | None:
    """Return what is known of out-of-memory failures, and what is done about them."""
    before, facts = previous.oom, inputs.deployment
    failures = failures_of((*inputs.pods, *inputs.deleted_pods))
    if before is None and not failures:
        return None
    until = seconds_until_quiet(scaled.spec, previous, inputs.now)
    settled = facts is not None and facts.settled
    remedy_inputs = RemedyInputs(
        failures,
        configuration=configuration_digest(settings_in_force(scaled, before), inputs.context),
        # The Deployment counts its ready replicas later than the pods report a failure.
        ready=any(pod.ready and not pod.terminating for pod in inputs.pods),
        quiet=until is not None and until <= 0 and settled,
        now=to_seconds(inputs.now),
    )
    return decide(scaled, before, remedy_inputs)


def _visible(oom: Oom | None) -> Oom | None:
    """Return the records without the identities that only serve to count each failure once."""
    return oom and oom.model_copy(update={"counted": []})
