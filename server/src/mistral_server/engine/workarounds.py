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

Workaround = Callable[[], drop_info.WorkaroundState]

WORKAROUNDS: Mapping[str, Workaround] = {drop_info.NAME: drop_info.memoize}
"""Names, as the metric's label `name` has them, to what applies each."""


@dataclass(frozen=True, slots=True)
class WorkaroundResult:
    """What one workaround found and did."""

    name: str
    active: bool
    reason: str
    """Half a sentence for the log."""


def apply(
    *, enabled: bool, workarounds: Mapping[str, Workaround] = WORKAROUNDS
) -> list[WorkaroundResult]:
    """Apply every workaround that fits this process's vLLM, and log the others.

    Nothing that goes wrong here keeps the API from starting.

    Args:
        enabled: False leaves the engine as it comes.
        workarounds: the ones to apply.
    """
    results = [_apply_one(name, workaround, enabled) for name, workaround in workarounds.items()]
    for result in results:
        if not result.active:
            _log.warning("Engine workaround %s is not active: %s", result.name, result.reason)
    return results


def _apply_one(name: str, workaround: Workaround, enabled: bool) -> WorkaroundResult:
    if not enabled:
        return WorkaroundResult(name, active=False, reason="engine.workarounds is Disabled")
    try:
        state = workaround()
    except Exception as error:  # whatever a future vLLM raises, the API starts without it
        return WorkaroundResult(name, active=False, reason=f"{type(error).__name__}: {error}")
    return WorkaroundResult(
        name, active=state is drop_info.WorkaroundState.ACTIVE, reason=state.value
    )
