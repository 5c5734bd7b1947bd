"""The condition ScalingLimited: what keeps an endpoint from the replicas that its load needs."""

from dataclasses import dataclass
from typing import Literal

from mistral_operator.api import Reason, ScalingReason, Spec
from mistral_operator.kube.plurals import counted
from mistral_operator.scale_to_zero import can_scale_to_zero
from mistral_operator.status.eligible_nodes import selects_nodes
from mistral_operator.status.memory import stopped_after
from mistral_operator.status.scheduling import all_cordoned
from mistral_operator.status.status_input import StatusInput
from mistral_operator.watch.nodes import NodeFacts


@dataclass(frozen=True, slots=True)
class Limits:
    """Status, reason and message of ScalingLimited."""

    status: Literal["True", "False", "Unknown"]
    reason: Reason
    message: str


def scaling_limits(status_input: StatusInput) -> Limits | None:
    """Say what limits scaling, None of a resource without autoscaling."""
    spec, scaling = status_input.resource.spec, status_input.scaling
    if spec.autoscaling is None:
        return None
    if spec.autoscaling.driver == "KEDA" and not status_input.observed.keda:
        return Limits(
            "True",
            Reason.KEDA_MISSING,
            "the cluster has no CRD for ScaledObject (keda.sh): install KEDA, which the operator"
            " detects at its next resync, or set spec.autoscaling.driver to Operator",
        )
    if can_scale_to_zero(spec) and not status_input.observed.activator:
        return Limits(
            "True",
            Reason.ACTIVATOR_MISSING,
            "spec.autoscaling.minReplicas is 0 but no activator is"
            f" ready{_effect(status_input)}: set activator.enabled in the chart's values, check the"
            " activator's Deployment, or set minReplicas to 1",
        )
    no_port = status_input.observed.no_port
    if can_scale_to_zero(spec) and no_port:
        return Limits(
            "True",
            Reason.NO_PORT,
            f"spec.autoscaling.minReplicas is 0 but {no_port}{_effect(status_input)}:"
            " set minReplicas to 1 here or in another resource, or raise"
            " activator.portsPerNamespace in the chart's values",
        )
    reason = None if scaling is None else scaling.reason
    if scaling is not None and reason == ScalingReason.FROZEN:
        return Limits("True", Reason.SCALE_UP_FROZEN, scaling.message)
    # Before the GPUs: these are a plan, and without signals nothing is scaled at all.
    if scaling is not None and reason == ScalingReason.NO_SIGNALS:
        return Limits("Unknown", Reason.NO_SIGNALS, scaling.message)
    room = None
    if status_input.observed.nodes:
        room = replicas_that_fit(spec, status_input.nodes)
    most = spec.autoscaling.max_replicas
    if room is not None and room < most:
        return Limits("True", Reason.TOO_FEW_GPUS, _too_few(status_input, room, most))
    if scaling is not None and reason == ScalingReason.AT_MAXIMUM:
        return Limits("True", Reason.AT_MAXIMUM, scaling.message)
    paused = _paused(status_input)
    message = f"autoscaling is paused: {paused}" if paused else "replicas can follow the load"
    return Limits("False", Reason.WITHIN_LIMITS, message)


def replicas_that_fit(spec: Spec, nodes: tuple[NodeFacts, ...]) -> int | None:
    """Return how many replicas the GPUs of some nodes hold, None of a resource without GPUs.

    GPUs that others use count too, since they may be given back; those of cordoned nodes do not.
    """
    if spec.device == "cpu":
        return None
    gpu, needed = spec.pod.gpu.resource_name, spec.engine.tensor_parallel_size
    return sum(node.count(gpu) // needed for node in nodes if not node.cordoned)


def _effect(status_input: StatusInput) -> str:
    """Return what a missing activator or port leads to, depending on the replicas."""
    if _paused(status_input):
        return ""
    if status_input.resource.spec.replicas:
        return ", so the last replica is kept while idle"
    return ", so no request can start a replica"


def _paused(status_input: StatusInput) -> str | None:
    """Return why no replica runs whatever the load is, None if replicas may run."""
    oom, scaling = status_input.oom, status_input.scaling
    if status_input.resource.spec.suspend:
        return "spec.suspend is true"
    if oom is not None and oom.stopped:
        return stopped_after(oom)
    if scaling is not None and scaling.reason == ScalingReason.STOPPED:
        return scaling.message
    return None


def _too_few(status_input: StatusInput, room: int, most: int) -> str:
    spec = status_input.resource.spec
    gpu, needed = spec.pod.gpu.resource_name, spec.engine.tensor_parallel_size
    if room:
        selected = "selected " if selects_nodes(spec) else ""
        return (
            f"all {selected}nodes together have room for {counted(room, 'replica')} with {needed}"
            f" {gpu} each, but spec.autoscaling.maxReplicas is {most}: add nodes, or lower it to"
            f" {room}"
        )
    enough = [node for node in status_input.nodes if node.count(gpu) >= needed]
    if enough:
        return all_cordoned(spec, enough)
    selected = " that spec.pod selects by its labels" if selects_nodes(spec) else ""
    return (
        f"no node{selected} has {needed} {gpu} for a replica: add nodes. Nodes that an autoscaler"
        " may add do not count"
    )
