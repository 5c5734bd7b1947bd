"""Inputs of a status report, and the conditions in it; see `builders` for the objects."""

from dataclasses import replace

from builders import EARLIER, Object, deployment_body, resource
from mistral_operator.api import Condition, ConditionType, Oom, Reason, Status
from mistral_operator.api.status import Problem
from mistral_operator.status import StatusInput
from mistral_operator.watch.deployments import deployment_facts
from mistral_operator.watch.facts import Observed, pod_facts
from mistral_operator.watch.nodes import node_facts
from mistral_server.contract import SignalDocument


def status_input(
    *pods: Object,
    spec: Object | None = None,
    deployment: Object | None = None,
    nodes: tuple[Object, ...] = (),
    problems: tuple[Problem, ...] = (),
) -> StatusInput:
    """Return a resource with what the cluster says of it; by default it has an unready Deployment.

    Further facts are added by `with_signals` and `previously`.
    """
    body = deployment_body() if deployment is None else deployment
    observed = Observed(
        deployment=deployment_facts(body),
        pods=tuple(pod_facts(pod) for pod in pods),
        nodes=tuple(node_facts(node) for node in nodes),
    )
    return StatusInput(resource(spec), observed, problems)


def with_signals(inputs: StatusInput, **signals: SignalDocument) -> StatusInput:
    """Return a status input in which pods have reported signals: `small_1=signal()`."""
    by_uid = {f"uid-of-{name.replace('_', '-')}": signal for name, signal in signals.items()}
    return replace(inputs, observed=replace(inputs.observed, signals=by_uid))


def remembering(inputs: StatusInput, oom: Oom) -> StatusInput:
    """Return a status input with a history of memory failures."""
    return replace(inputs, oom=oom)


def previously(inputs: StatusInput, status: Status) -> StatusInput:
    """Return a status input in which a status was reported before."""
    return replace(inputs, previous=status)


def condition(
    kind: ConditionType = ConditionType.READY,
    status: str = "False",
    reason: Reason = Reason.CREATING,
    message: str = "the child objects are being created",
) -> Condition:
    """Return a condition as it was reported an hour ago."""
    return Condition.model_validate(
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": 1,
            "lastTransitionTime": EARLIER,
        }
    )


def condition_of(status: Status, kind: ConditionType = ConditionType.READY) -> Condition:
    """Return one condition of a status."""
    return next(one for one in status.conditions if one.type == kind)
