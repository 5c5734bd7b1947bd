"""What to do next about an endpoint, by the reason of its condition Ready. Pure.

docs/status.md has the same advice with its causes.
"""

from typing import NamedTuple

from mistral_operator.api import ConditionType, Reason
from mistral_operator.plugin.endpoint import Endpoint


class Step(NamedTuple):
    """What to do next."""

    text: str
    command: str = ""
    """A command that does it, as a shell takes it; empty if there is none."""

    @property
    def line(self) -> str:
        """Both in one line."""
        return f"{self.text}: {self.command}" if self.command else self.text


_COMMANDS: dict[str, str] = {
    Reason.READY: "kubectl msd chat {name} -n {namespace}",
    Reason.SUSPENDED: "kubectl msd resume {name} -n {namespace}",
    Reason.ASLEEP: "kubectl msd chat {name} -n {namespace}",
    Reason.CREATING: (
        "kubectl describe pod -n {namespace} -l inference.mistral-small.io/deployment={name}"
    ),
    Reason.SERVER_FAILED: "kubectl msd logs {name} -n {namespace} --previous",
}
"""For reasons whose step has a command. Each names the namespace: the user's may be another."""

STEPS: dict[str, str] = {
    Reason.READY: "nothing; to try it",
    Reason.SUSPENDED: "to start it",
    Reason.ASLEEP: "nothing: the next request starts a replica, such as",
    Reason.SCALED_TO_ZERO: "to start it, raise spec.replicas",
    Reason.CREATING: "wait; if it takes minutes, see what holds up the pods",
    Reason.FETCHING: "wait; spec.cache keeps the model for the next pod",
    Reason.PREFETCHING: "wait; pods that serve go on until the model is fetched",
    Reason.FETCH_FAILED: (
        "correct what the message names: token, license, repository, revision or network"
    ),
    Reason.STARTING: "wait, up to spec.startupSeconds",
    Reason.NOT_READY: "wait: a server that hangs is restarted",
    Reason.SCALING_UP: "wait",
    Reason.ROLLING_OUT: "wait: pods with old settings are replaced one at a time",
    Reason.PREPULLING: "wait, up to spec.rollout.prepullSeconds",
    Reason.INVALID_RESOURCE: "correct the field that the message names, or upgrade the operator",
    Reason.NAME_TAKEN: "rename the resource, or delete the object that the message names",
    Reason.APPLY_FAILED: "correct what the API server rejects, as the message quotes it",
    Reason.ACTIVATOR_MISSING: (
        "repair the activator's Deployment, or set spec.autoscaling.minReplicas to 1"
    ),
    Reason.NO_PORT: (
        "set spec.autoscaling.minReplicas to 1, or raise activator.portsPerNamespace of the chart"
    ),
    Reason.REPLICAS_CONTESTED: "point the other autoscaler at the scale subresource",
    Reason.CONFIG_MAP_MISSING: "create the ConfigMap that the message names",
    Reason.CLAIM_MISSING: "create the PersistentVolumeClaim that the message names",
    Reason.CLAIM_PENDING: "correct spec.cache, or create what is missing",
    Reason.CLAIM_DIFFERS: "set the field of spec.cache back, or suspend and delete the claim",
    Reason.CONFIG_MISSING: "create the Secret or the key that the message names",
    Reason.POD_REJECTED: "raise the quota, or change the policy that the message quotes",
    Reason.NO_FITTING_NODE: (
        "add a larger node, lower spec.engine.tensorParallelSize, or lower the request that the"
        " message names"
    ),
    Reason.UNSCHEDULABLE: "free or add a node, or change spec.pod",
    Reason.DOES_NOT_FIT: "follow the message of ModelFits",
    Reason.GPUS_UNSUITABLE: "follow the message of ModelFits",
    Reason.IMAGE_UNAVAILABLE: (
        "correct the image that the message names, or spec.pod.imagePullSecrets"
    ),
    Reason.SERVER_FAILED: (
        "follow the message, which has the report of the server; its log has the rest"
    ),
    Reason.CRASH_LOOP: "follow the message; then edit the spec, or suspend and resume it",
}
"""For each reason that Ready can have."""

_NO_STATUS = (
    "no operator has reported on this resource: check that the operator runs and that the chart"
    " value watchNamespaces, if it is set, names {namespace}"
)
_OLD_STATUS = (
    "the conditions are of an older generation of the spec: wait; if it takes longer than a minute,"
    " check that the operator runs"
)


_PAUSED = "an edit of the pods waits: set spec.rollout.paused to false to roll it out"


def next_steps(endpoint: Endpoint) -> list[Step]:
    """Return what to do, most important first."""
    if endpoint.terminating:
        return [Step("nothing: the resource is being deleted, and its children with it")]
    if not endpoint.status.conditions:
        return [Step(_NO_STATUS.format(namespace=endpoint.namespace))]
    steps = []
    if (endpoint.status.observed_generation or 0) < endpoint.generation:
        steps.append(Step(_OLD_STATUS))
    change = endpoint.status.oom and endpoint.status.oom.recommendation
    if change:
        text = f"against memory failures, set {change.setting} to {change.after}: {change.reason}"
        steps.append(Step(text))
    progressing = endpoint.condition(ConditionType.PROGRESSING)
    if progressing and progressing.reason == Reason.PAUSED and endpoint.reason != Reason.PAUSED:
        steps.append(Step(_PAUSED))
    text = STEPS.get(endpoint.reason, "follow the message of Ready")
    if not (steps and text.startswith("nothing")):
        steps.append(Step(text, _command(endpoint)))
    return steps


def _command(endpoint: Endpoint) -> str:
    command = _COMMANDS.get(endpoint.reason, "")
    return command.format(name=endpoint.name, namespace=endpoint.namespace)
