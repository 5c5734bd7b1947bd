"""Workarounds for defects of the pinned vLLM, applied inside its API process.

They are the one exception to the rule that vLLM's private code is not touched;
docs/decisions/0001-engine-workarounds.md says why, and when each one is removed. A workaround first
inspects the engine, and leaves one that it does not recognize unchanged.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mistral_server.engine import drop_info

_log = logging.getLogger(__name__)

Workaround = Callable[[], drop_info.WorkaroundState]

WORKAROUNDS: Mapping[str, Workaround] = {drop_info.NAME: drop_info.memoize}
"""Workarounds by name, which is the value of the metric's label `name`."""


@dataclass(frozen=True, slots=True)
class WorkaroundResult:
    """The result of one workaround."""

    name: str
    active: bool
    reason: str
    """A clause for the log."""


def apply(
    *, enabled: bool, workarounds: Mapping[str, Workaround] = WORKAROUNDS
) -> list[WorkaroundResult]:
    """Apply every workaround that this process's vLLM needs, and log the others.

    A failure never prevents the API from starting.

    Args:
        enabled: False leaves the engine unchanged.
        workarounds: the workarounds to apply.
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
    except Exception as error:  # any error of a future vLLM: the API starts without it
        return WorkaroundResult(name, active=False, reason=f"{type(error).__name__}: {error}")
    return WorkaroundResult(
        name, active=state is drop_info.WorkaroundState.ACTIVE, reason=state.value
    )
