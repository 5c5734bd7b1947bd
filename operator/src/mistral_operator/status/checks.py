"""Why is the endpoint not ready? Checks in order; the first that has an answer wins.

Causes come before their effects: a taken name before missing pods, a node that cannot exist before
the scheduler's sentence about it.
"""

from collections.abc import Callable

from mistral_operator.api import Reason
from mistral_operator.api.status import Problem
from mistral_operator.kube.plurals import counted
from mistral_operator.scale_to_zero import can_scale_to_zero
from mistral_operator.status import limits
from mistral_operator.status.cache import claim
from mistral_operator.status.hold import taking_over
from mistral_operator.status.memory import stopped_after, what_is_done
from mistral_operator.status.model_fits import FitVerdict
from mistral_operator.status.pods import worst_pod
from mistral_operator.status.prefetch import prefetching
from mistral_operator.status.prepull import waits_for_images
from mistral_operator.status.status_input import StatusInput
from mistral_operator.status.verdict import Outlook, Verdict, stuck, waiting
from mistral_operator.watch.deployments import DeploymentFacts

Check = Callable[[StatusInput], Verdict | None]


def verdict(status_input: StatusInput) -> Verdict:
    """Return the first answer to "why is it not ready?", or that it is."""
    for check in CHECKS:
        answer = check(status_input)
        if answer is not None:
            return answer
    return waiting(Reason.STARTING, "waiting for the replicas to become ready")


def with_memory(answer: Verdict, fits: FitVerdict) -> Verdict:
    """Return that the model cannot run on these GPUs before that no node has room for its pods."""
    if fits.status != "False" or answer.reason not in _NO_ROOM:
        return answer
    return stuck(fits.reason, f"{fits.message}. Apart from that, {answer.message}")


_NO_ROOM = {Reason.NO_FITTING_NODE, Reason.UNSCHEDULABLE}


def problems(status_input: StatusInput) -> Verdict | None:
    """Something kept the operator from applying the children."""
    if not status_input.problems:
        return None
    message = "; ".join(_explained(problem) for problem in status_input.problems)
    for problem in status_input.problems:
        if problem.reason is not Reason.CREATING:
            return stuck(problem.reason, message)
    return waiting(Reason.CREATING, message)


def _explained(problem: Problem) -> str:
    """Return what keeps the operator from applying a child, and what to change if a quota does."""
    sentence = limits.advice(problem.message) if problem.reason is Reason.APPLY_FAILED else ""
    return f"{sentence}. {problem.message}" if sentence else problem.message


def given_up(status_input: StatusInput) -> Verdict | None:
    """It cannot start, and holds no GPUs while that is so."""
    oom = status_input.oom
    if oom is None or not oom.stopped:
        return None
    return stuck(
        Reason.CRASH_LOOP,
        f"{stopped_after(oom)}. {what_is_done(oom)} Edit the spec, or suspend and resume it, to"
        " start the endpoint again.",
    )


def stopped(status_input: StatusInput) -> Verdict | None:
    """Nothing runs because nothing should."""
    spec = status_input.resource.spec
    if spec.suspend:
        return Verdict(
            Reason.SUSPENDED,
            "spec.suspend is true: set it to false to start the endpoint",
            Outlook.GOOD,
        )
    if spec.replicas == 0 and can_scale_to_zero(spec):
        return _scaled_to_zero(status_input)
    if spec.replicas == 0:
        return Verdict(
            Reason.SCALED_TO_ZERO,
            "spec.replicas is 0: raise it to start the endpoint",
            Outlook.GOOD,
        )
    return None


def _scaled_to_zero(status_input: StatusInput) -> Verdict:
    no_port = status_input.observed.no_port
    if no_port:
        return stuck(
            Reason.NO_PORT,
            f"scaled to zero, and no request can reach the activator: {no_port}."
            " Set spec.autoscaling.minReplicas to 1 here or in another resource, or raise"
            " activator.portsPerNamespace in the chart's values",
        )
    if status_input.observed.activator:
        return Verdict(
            Reason.ASLEEP,
            "scaled to zero while idle; the next request starts a replica",
            Outlook.GOOD,
        )
    return stuck(
        Reason.ACTIVATOR_MISSING,
        "scaled to zero, and no activator is ready to accept requests: check the Deployment of the"
        " activator, or set spec.autoscaling.minReplicas to 1",
    )


def creating(status_input: StatusInput) -> Verdict | None:
    """The Deployment does not exist yet, or its controller has not seen the newest one."""
    facts = status_input.observed.deployment
    if facts is None or facts.observed_generation < facts.generation:
        return waiting(Reason.CREATING, "the child objects are being created")
    return None


def about_to_roll_out(status_input: StatusInput) -> Verdict | None:
    """An edit is not applied before the activators are behind the Service."""
    return taking_over(status_input.hold)


def serving(status_input: StatusInput) -> Verdict | None:
    """Every replica is ready in the newest configuration, or the rollout of it is paused."""
    facts = status_input.observed.deployment
    if facts is None or not (facts.settled or facts.keeps_old_pods):
        return None
    waits = waits_for_images(status_input.resource, status_input.prepull)
    if waits is not None:
        return waits
    verb = "answers" if facts.ready == 1 else "answer"
    message = f"{counted(facts.ready, 'replica')} {verb} as {status_input.resource.spec.model.name}"
    return Verdict(Reason.READY, message, Outlook.GOOD)


def rejected(status_input: StatusInput) -> Verdict | None:
    """The API server refuses the pods: a quota, a security policy."""
    facts = status_input.observed.deployment
    if facts is None or not facts.replica_failure:
        return None
    sentence = limits.advice(facts.replica_failure)
    start = f"{sentence}. The" if sentence else "the"
    return stuck(
        Reason.POD_REJECTED, f"{start} API server rejects the pods: {facts.replica_failure}"
    )


def pods(status_input: StatusInput) -> Verdict | None:
    """A pod has something to say."""
    answer, facts = worst_pod(status_input), status_input.observed.deployment
    if answer is None or facts is None or answer.reason not in _ON_THE_WAY or not facts.serves_less:
        return answer
    return waiting(Reason.SCALING_UP, f"{_some_ready(facts)}; {answer.message}")


_ON_THE_WAY = {Reason.CREATING, Reason.FETCHING, Reason.STARTING}


def scaling_up(status_input: StatusInput) -> Verdict | None:
    """Replicas serve, and more are wanted."""
    facts = status_input.observed.deployment
    if facts is None or not facts.serves_less:
        return None
    return waiting(Reason.SCALING_UP, f"{_some_ready(facts)}; the others are being created")


def _some_ready(facts: DeploymentFacts) -> str:
    return f"{facts.ready} of {counted(facts.desired, 'replica')} ready"


def rolling_out(status_input: StatusInput) -> Verdict | None:
    """Old and new pods exist side by side."""
    facts = status_input.observed.deployment
    if facts is None or facts.paused or facts.updated >= facts.desired:
        return None
    return waiting(Reason.ROLLING_OUT, _rollout(facts))


def paused(status_input: StatusInput) -> Verdict | None:
    """Kubernetes starts no pod of a Deployment that was created paused."""
    facts = status_input.observed.deployment
    if facts is None or not facts.paused or facts.replicas:
        return None
    message = "no pod runs, and spec.rollout.paused is true: set it to false to start the endpoint"
    return waiting(Reason.PAUSED, message)


def _rollout(facts: DeploymentFacts) -> str:
    replicas = counted(facts.desired, "replica")
    return f"{facts.updated} of {replicas} updated to the newest configuration"


CHECKS: tuple[Check, ...] = (
    problems,
    given_up,
    prefetching,
    stopped,
    creating,
    about_to_roll_out,
    serving,
    rejected,
    claim,
    pods,
    scaling_up,
    rolling_out,
    paused,
)
