"""What is reported while a model is fetched before pods need it."""

from mistral_operator.api import Reason
from mistral_operator.kube import names
from mistral_operator.kube.plurals import counted
from mistral_operator.prefetch import PrefetchPhase
from mistral_operator.status import limits
from mistral_operator.status.cache import claim
from mistral_operator.status.pods import worst_of
from mistral_operator.status.status_input import StatusInput
from mistral_operator.status.verdict import Outlook, Verdict, stuck, waiting

_BEFORE_JOB = {
    PrefetchPhase.CLAIM: "waiting for the claim of the cache",
    PrefetchPhase.REPLACING: "an earlier Job is being deleted",
}


def prefetching(status_input: StatusInput) -> Verdict | None:
    """The pods wait for their model."""
    if not status_input.prefetch.holds:
        return None
    cause = claim(status_input) or _cause(status_input)
    if cause.outlook is Outlook.STUCK:
        remedy = "It is tried again; to go on without it, set spec.cache.prefetch to Never"
        message = f"{cause.message.removesuffix('.')}. {_what_waits(status_input)}. {remedy}"
        return stuck(cause.reason, message)
    return waiting(Reason.PREFETCHING, f"{_what_waits(status_input)}: {cause.message}")


def _what_waits(status_input: StatusInput) -> str:
    facts = status_input.observed.deployment
    if facts is None or not facts.replicas:
        return "No pod starts until the model is fetched"
    verb = "answers" if facts.ready == 1 else "answer"
    return (
        "An edit waits until its model is fetched, and"
        f" {counted(facts.ready, 'replica')} of the earlier configuration {verb}"
    )


def _cause(status_input: StatusInput) -> Verdict:
    """Return what the Job does, or why it does not."""
    before = _BEFORE_JOB.get(status_input.prefetch.phase)
    if before is not None:
        return waiting(Reason.PREFETCHING, before)
    observed, name = status_input.observed, names.prefetch(status_input.resource.name)
    if observed.prefetch_job is not None and observed.prefetch_job.failure:
        failure = observed.prefetch_job.failure
        message = f"Job {name} makes no further attempt ({failure}): delete it to try again"
        return stuck(Reason.FETCH_FAILED, message)
    answer = worst_of(status_input, observed.prefetch_pods)
    if answer is not None:
        return answer
    if status_input.prefetch_rejection:
        return _rejected(name, status_input.prefetch_rejection)
    return waiting(Reason.PREFETCHING, f"Job {name} is creating its pod")


def _rejected(name: str, message: str) -> Verdict:
    # The only container of the Job is the init container of a replica.
    sentence = limits.advice(message.replace(".containers[", ".initContainers["))
    start = f"{sentence}. The" if sentence else "the"
    return stuck(
        Reason.POD_REJECTED, f"{start} API server rejects the pod of Job {name}: {message}"
    )
