"""The condition RouterReady: whether requests go through the router, and what it is for."""

from typing import Literal

from mistral_operator.api import Reason
from mistral_operator.kube import names
from mistral_operator.kube.plurals import counted
from mistral_operator.status.status_input import StatusInput
from mistral_operator.watch.deployments import RouterFacts


def router_ready(
    status_input: StatusInput,
) -> tuple[Literal["True", "False"], Reason, str] | None:
    """Return the condition, None for an endpoint that has no router now."""
    spec, facts = status_input.resource.spec, status_input.observed.router
    if not spec.routing.enabled or spec.suspend:
        return None
    if facts is None or not facts.ready:
        return "False", Reason.ROUTER_UNAVAILABLE, _unavailable(status_input.resource.name, facts)
    if spec.most_replicas <= 1:
        message = (
            f"spec.routing.policy {spec.routing.policy} has no effect with one replica: raise"
            " spec.replicas, or set the policy to None"
        )
        return "True", Reason.NO_EFFECT, message
    pods = counted(facts.desired, "pod")
    return "True", Reason.AVAILABLE, f"{facts.ready} of {pods} of the router ready"


def _unavailable(name: str, facts: RouterFacts | None) -> str:
    deployment = names.router(name)
    why = f"kubectl describe pods -l {names.LABEL_ROUTER}={name} shows why"
    if facts is not None and facts.replica_failure:
        why = facts.replica_failure
    return (
        f"no pod of Deployment {deployment} is ready, so the Service leads to the replicas, each"
        f" request to a random one: {why}"
    )
