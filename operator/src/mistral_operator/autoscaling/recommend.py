"""How many replicas the demand asks for: HPA's rule for an average over pods."""

import math

from mistral_operator.autoscaling.load import Look


def recommend(look: Look, target: int, current: int, tolerance: float) -> int:
    """Return how many replicas the demand asks for, `current` if there is no reason to change.

    Replicas that are on their way count as idle when more might be needed, so that a burst is not
    answered twice. Pods that are silent count as idle then, and as full when fewer might do: what
    is not known never moves anything by itself.
    """
    if not look.heard or not current:
        return current
    known = look.demand(target)
    heard = len(look.heard)
    if known > target * heard:
        return _more(known, target, max(current, heard + look.silent), current, tolerance)
    return _fewer(known + look.silent * target, target, heard + look.silent, current, tolerance)


def _more(known: float, target: int, pods: int, current: int, tolerance: float) -> int:
    if known <= target * pods * (1 + tolerance):
        return current
    return max(math.ceil(known / target), current)


def _fewer(assumed: float, target: int, pods: int, current: int, tolerance: float) -> int:
    if assumed >= target * pods * (1 - tolerance):
        return current
    return min(max(math.ceil(assumed / target), 1), current)
