"""Endpoints with autoscaling, with what the condition ScalingLimited says of each."""

from dataclasses import replace
from typing import Any

from builders import EARLIER, GPU, ON_CPUS, Object, node_body
from mistral_operator.api import AutoscalingStatus, Oom, Reason, ScalingReason
from mistral_operator.status import StatusInput
from mistral_operator.watch.facts import Observed
from status_inputs import remembering, status_input


def scaled(
    reason: ScalingReason = ScalingReason.ON_TARGET,
    *,
    nodes: tuple[Object, ...] = (),
    driver: str = "Operator",
    least: int = 1,
    **spec: object,
) -> StatusInput:
    """Return an endpoint of at most 4 replicas about which something was decided."""
    autoscaling = {"minReplicas": least, "maxReplicas": 4, "driver": driver}
    inputs = status_input(spec={"autoscaling": autoscaling, **spec}, nodes=nodes)
    scaling = AutoscalingStatus(replicas=1, reason=reason, message="so it is", time=EARLIER)
    return replace(inputs, scaling=scaling if driver == "Operator" else None)


def without_activator(**spec: Any) -> StatusInput:
    """Return an endpoint that may be scaled to zero, in a cluster without an activator."""
    return replace(scaled(least=0, **spec), observed=Observed(activator=False))


GIVEN_UP = Oom(active="CudaOomLoad", streak=3, stopped=True)
"""What is known of an endpoint that failed so often that it is stopped."""

TWO_NODES = (node_body("gpu-0", 4), node_body("gpu-1", 3))
"""They hold 3 replicas of 2 GPUs: a replica is on one node."""

LIMITS: dict[str, tuple[StatusInput, str, Reason, str]] = {
    "nothing": (scaled(), "False", Reason.WITHIN_LIMITS, "replicas can follow"),
    "loops": (scaled(ScalingReason.FROZEN), "True", Reason.SCALE_UP_FROZEN, "so it is"),
    "the maximum": (scaled(ScalingReason.AT_MAXIMUM), "True", Reason.AT_MAXIMUM, "so it is"),
    "no pod answers": (scaled(ScalingReason.NO_SIGNALS), "Unknown", Reason.NO_SIGNALS, "so it is"),
    "too few GPUs": (
        scaled(nodes=TWO_NODES),
        *("True", Reason.TOO_FEW_GPUS, f"room for 3 replicas with 2 {GPU}"),
    ),
    "too few GPUs for another autoscaler": (
        scaled(nodes=TWO_NODES, driver="External"),
        *("True", Reason.TOO_FEW_GPUS, "lower it to 3"),
    ),
    "no GPUs for a single replica": (
        scaled(nodes=(node_body(gpus=1),)),
        *("True", Reason.TOO_FEW_GPUS, "no node has 2"),
    ),
    "all GPUs are on cordoned nodes": (
        scaled(nodes=(node_body(spec={"unschedulable": True}),)),
        *("True", Reason.TOO_FEW_GPUS, f"the only one with 2 {GPU}, is cordoned"),
    ),
    "some GPUs are on a cordoned node": (
        scaled(nodes=(*TWO_NODES, node_body("gpu-2", spec={"unschedulable": True}))),
        *("True", Reason.TOO_FEW_GPUS, f"room for 3 replicas with 2 {GPU}"),
    ),
    "loops before GPUs": (
        scaled(ScalingReason.FROZEN, nodes=TWO_NODES),
        *("True", Reason.SCALE_UP_FROZEN, "so it is"),
    ),
    "no pod answers, before GPUs": (
        scaled(ScalingReason.NO_SIGNALS, nodes=TWO_NODES),
        *("Unknown", Reason.NO_SIGNALS, "so it is"),
    ),
    "no KEDA": (
        replace(scaled(driver="KEDA"), observed=Observed(keda=False)),
        *("True", Reason.KEDA_MISSING, "install KEDA"),
    ),
    "nothing would scale from zero": (
        without_activator(),
        *("True", Reason.ACTIVATOR_MISSING, "is ready, so the last replica is kept while idle:"),
    ),
    "nothing scales from zero what is at zero": (
        without_activator(replicas=0),
        *("True", Reason.ACTIVATOR_MISSING, "is ready, so no request can start a replica:"),
    ),
    "nothing would scale from zero what is suspended": (
        without_activator(suspend=True),
        *("False", Reason.WITHIN_LIMITS, "autoscaling is paused: spec.suspend is true"),
    ),
    "nothing would scale from zero what is stopped": (
        remembering(without_activator(), GIVEN_UP),
        *("True", Reason.ACTIVATOR_MISSING, "no activator is ready: set"),
    ),
    "a suspended endpoint": (
        scaled(suspend=True),
        *("False", Reason.WITHIN_LIMITS, "autoscaling is paused: spec.suspend is true"),
    ),
    "a suspended endpoint of another autoscaler": (
        scaled(suspend=True, driver="External"),
        *("False", Reason.WITHIN_LIMITS, "autoscaling is paused: spec.suspend is true"),
    ),
    "an endpoint without replicas": (
        scaled(ScalingReason.STOPPED, replicas=0),
        *("False", Reason.WITHIN_LIMITS, "autoscaling is paused: so it is"),
    ),
    "an endpoint that cannot start": (
        remembering(scaled(), GIVEN_UP),
        *("False", Reason.WITHIN_LIMITS, "autoscaling is paused: stopped after 3 consecutive"),
    ),
    "no port": (
        replace(scaled(least=0), observed=Observed(no_port="there are too many")),
        *(
            "True",
            Reason.NO_PORT,
            "but there are too many, so the last replica is kept while idle:",
        ),
    ),
    "no port for what is at zero": (
        replace(scaled(least=0, replicas=0), observed=Observed(no_port="there are too many")),
        *("True", Reason.NO_PORT, "but there are too many, so no request can start a replica:"),
    ),
    "nothing would scale from zero, and nothing has to": (
        replace(scaled(), observed=Observed(activator=False)),
        *("False", Reason.WITHIN_LIMITS, "replicas can follow"),
    ),
    "enough GPUs": (
        scaled(nodes=(*TWO_NODES, node_body("gpu-2", 2))),
        *("False", Reason.WITHIN_LIMITS, "replicas can follow"),
    ),
    "another kind of GPU": (
        scaled(nodes=TWO_NODES, pod={"gpu": {"resourceName": "amd.com/gpu"}}),
        *("True", Reason.TOO_FEW_GPUS, "2 amd.com/gpu"),
    ),
    "no GPUs are needed": (
        scaled(nodes=TWO_NODES, **ON_CPUS),
        *("False", Reason.WITHIN_LIMITS, "replicas can follow"),
    ),
}
