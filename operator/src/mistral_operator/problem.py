"""What keeps the operator from doing what a resource asks for."""

from dataclasses import dataclass

from mistral_operator.api import Reason


@dataclass(frozen=True, slots=True)
class Problem:
    """One obstacle, as the resource's author reads it."""

    reason: Reason
    message: str
