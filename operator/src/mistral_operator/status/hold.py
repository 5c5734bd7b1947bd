"""What is reported while the activators queue the requests of an endpoint without a replica."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from mistral_operator.api import Reason, Resource
from mistral_operator.scale_to_zero import terms_of
from mistral_operator.status.verdict import Outlook, Verdict, waiting


class HoldPhase(StrEnum):
    """Why an endpoint needs the activators."""

    NONE = ""
    """It does not."""
    BEFORE = "before the last replica is replaced"
    WITHOUT = "no replica is ready"
    AFTER = "until the activators see the new replica"


@dataclass(frozen=True, slots=True)
class Hold:
    """Whether the activators queue the requests of an endpoint, and why they do not."""

    phase: HoldPhase = HoldPhase.NONE
    serves: bool = False
    """The activators are to be behind the Service."""
    keeps_template: bool = False
    """The Deployment stays as it is until they are."""
    refusal: Reason | None = None
    """Why they cannot be."""
    why: str = ""
    """The same in words. Without a refusal: why they are not, although they could be."""
    again: float | None = None
    """Seconds after which the passing of time alone changes the decision."""

    @property
    def needed(self) -> bool:
        """Whether the endpoint needs a port of the activators."""
        return self.phase is not HoldPhase.NONE


def observed_hold(hold: Hold, *, serves: bool) -> Hold:
    """Return what is reported, once the children were applied.

    Args:
        hold: what was decided.
        serves: whether the live slice has the activators behind the Service.
    """
    if serves or not hold.serves:
        return hold
    why = "the EndpointSlice that leads to the activators cannot be written"
    return replace(hold, serves=False, refusal=Reason.APPLY_FAILED, why=why)


def taking_over(hold: Hold) -> Verdict | None:
    """Return that an edit is about to be rolled out, None if it is not."""
    if not hold.keeps_template:
        return None
    message = "the activator takes over the requests before the last replica is replaced"
    if hold.refusal is not None:
        message = f"the last replica is replaced when the activator can take over: {hold.why}"
    return waiting(Reason.ROLLING_OUT, message)


def with_hold(verdict: Verdict, hold: Hold) -> Verdict:
    """Return a verdict that also says what happens to requests meanwhile."""
    if verdict.outlook is Outlook.GOOD or not hold.serves or hold.phase is not HoldPhase.WITHOUT:
        return verdict
    message = f"{verdict.message}; the activator queues requests until a replica is ready"
    return replace(verdict, message=message)


def holding(resource: Resource, hold: Hold) -> tuple[Literal["True", "False"], Reason, str] | None:
    """Return the condition Holding, None while it does not matter."""
    if hold.serves:
        return "True", Reason.HOLDING, _queued(resource, hold)
    refusal = hold.refusal or (Reason.ACTIVATOR_MISSING if hold.why else None)
    if refusal is None or (hold.phase is HoldPhase.BEFORE and not hold.keeps_template):
        return None
    start = "no replica is ready, and requests are refused"
    if hold.keeps_template:
        start = "an edit waits, since requests would be refused"
    return "False", refusal, f"{start}: {hold.why}"


def _queued(resource: Resource, hold: Hold) -> str:
    if hold.phase is not HoldPhase.WITHOUT:
        return "requests go through the activator until it sees that the new replica is ready"
    seconds = terms_of(resource).max_wait_seconds
    return f"no replica is ready: the activator queues each request for up to {seconds} seconds"
