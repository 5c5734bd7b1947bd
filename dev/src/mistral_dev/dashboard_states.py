"""The panels that show the states of endpoints: now, and over time with their conditions."""

from __future__ import annotations

from mistral_dev.dashboard_panel import (
    BAD,
    GOOD,
    NOTICE,
    OTHER,
    WARNING,
    WHO,
    Panel,
    condition,
    conditions,
)

_STATE = f"2 * {condition('Available')} + {condition('Ready')}"
_STATES = {
    0: ("down", BAD),
    1: ("scaled to zero", OTHER),
    2: ("partly up", WARNING),
    3: ("up", GOOD),
}
"""Values of `_STATE`."""
_IN_PROGRESS, _NEEDS_ATTENTION = 4, 5
"""Values of conditions, beside those of `_STATE`."""

ENDPOINTS = Panel(
    "Endpoints",
    "`partly up`: some replicas do not serve, or not in the desired configuration. `down`"
    " includes suspended endpoints. `kubectl get msd -o wide` shows the reason.",
    {WHO: _STATE},
    kind="stat",
    states=_STATES,
)

STATES_AND_CONDITIONS = Panel(
    "States and conditions",
    "The state of each endpoint as in the first panel, and the conditions that report a"
    " change or a problem, while they do. `kubectl get msd -o wide` shows the reason.",
    {
        WHO: _STATE,
        f"{WHO} {{{{type}}}}": f"{_IN_PROGRESS} * "
        + conditions('type="Progressing", status="True"')
        + f" or {_NEEDS_ATTENTION} * "
        + conditions('type=~"Degraded|OutOfMemory|ScalingLimited", status="True"'),
        f"{WHO} {{{{type}}}} is False": f"{_NEEDS_ATTENTION} * "
        + conditions('type=~"ModelFits|CacheBound", status="False"'),
    },
    kind="state-timeline",
    states=_STATES
    | {
        _IN_PROGRESS: ("in progress", NOTICE),
        _NEEDS_ATTENTION: ("needs attention", WARNING),
    },
    width=24,
)
