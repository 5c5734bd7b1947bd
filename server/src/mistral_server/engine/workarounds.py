"""Workarounds for defects of the pinned vLLM, applied inside its API process.

They are the one exception to the rule that nothing private of vLLM is touched;
docs/decisions/0001-engine-workarounds.md says why, and when each of them ends. A workaround looks
at what it finds first: an engine that it does not recognize is left alone.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mistral_server.engine import drop_info

_log = logging.getLogger(__name__)

Workaround = Callable[[], drop_info.State]

WORKAROUNDS: Mapping[str, Workaround] = {drop_info.NAME: drop_info.memoize}
"""Names, as the metric's label `name` has them, to what applies each."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one workaround found and did."""

    name: str
    active: bool
    reason: str
    """Half a sentence for the log."""


def apply(*, enabled: bool, workarounds: Mapping[str, Workaround] = WORKAROUNDS) -> list[Outcome]:
    """Apply every workaround that fits this process's vLLM, and log the others.

    Nothing that goes wrong here keeps the API from starting.

    Args:
        enabled: False leaves the engine as it comes.
        workarounds: the ones to apply.
    """
    outcomes = [_outcome(name, one, enabled) for name, one in workarounds.items()]
    for outcome in outcomes:
        if not outcome.active:
            _log.warning("Engine workaround %s is not active: %s", outcome.name, outcome.reason)
    return outcomes


def _outcome(name: str, workaround: Workaround, enabled: bool) -> Outcome:
    if not enabled:
        return Outcome(name, active=False, reason="engine.workarounds is Disabled")
    try:
        state = workaround()
    except Exception as error:  # whatever a future vLLM raises, the API starts without it
        return Outcome(name, active=False, reason=f"{type(error).__name__}: {error}")
    return Outcome(name, active=state is drop_info.State.ACTIVE, reason=state.value)
