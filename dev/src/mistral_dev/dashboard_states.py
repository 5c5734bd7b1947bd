"""The panels that show the states of endpoints, now and over time, and how their pods start."""

from __future__ import annotations

from mistral_dev.dashboard_panel import (
    BAD,
    CHOSEN,
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

_OF_STARTS = 'stage!~"serving|draining"'
"""A server that drains reports how long it served, too: that is no part of its start."""

STARTS = (
    Panel(
        "Stages of the last starts",
        "Longest of the replicas. `starting` is mostly imports, `loading` the weights,"
        " `profiling` and `warming-up` also compile.",
        {
            f"{WHO} {{{{stage}}}}": "max by (namespace, name, stage)"
            f" (mistral_engine_start_seconds{{{CHOSEN}, {_OF_STARTS}}})"
        },
        "s",
        width=12,
    ),
    Panel(
        "Compiled code at the last starts",
        "Replicas that loaded the code which `spec.cache` keeps, compiled it, or could not keep"
        " it.",
        {
            f"{WHO} {{{{result}}}}": "sum by (namespace, name, result)"
            f" (mistral_server_compile_cache{{{CHOSEN}}})"
        },
        counts=True,
        width=12,
    ),
)
