"""The answer to "why is it not ready?"."""

from dataclasses import dataclass
from enum import Enum

from mistral_operator.api import Reason


class Outlook(Enum):
    """What will happen without any action."""

    GOOD = "good"
    """It is as it should be."""
    WAITING = "waiting"
    """Waiting is enough."""
    STUCK = "stuck"
    """A user has to act."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A reason, a message that says what to do, and an outlook."""

    reason: Reason
    message: str
    outlook: Outlook


def waiting(reason: Reason, message: str) -> Verdict:
    """Return a verdict that time will change."""
    return Verdict(reason, message, Outlook.WAITING)


def stuck(reason: Reason, message: str) -> Verdict:
    """Return a verdict that only an action of a user will change."""
    return Verdict(reason, message, Outlook.STUCK)
