"""From a resource that cannot start to one that serves, by what the failed servers suggest."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from mistral_dev.gpu.rig import Plan, Rig
from mistral_dev.gpu.scenario import Room, Scenario, Step
from mistral_dev.gpu.scenarios.boot import BOOT
from mistral_server.contract import FailureClass, TerminationReport

Engine = Mapping[str, Any]
NextSettings = Callable[[FailureClass, Mapping[str, Any], Engine], Engine | None]
"""From class, suggestion and fields of ``spec.engine`` to changed fields; None is no remedy."""

_RUNGS = 4
_START_SECONDS = 150.0
_SHARE = 0.70
"""Of an 80 GB card: room for 57,344 tokens beside the weights."""


def take_the_suggestion(
    _failure: FailureClass, suggest: Mapping[str, Any], engine: Engine
) -> Engine | None:
    """Change what the failed server said the value of."""
    changes = {name: value for name, value in suggest.items() if name != "advice"}
    return {**engine, **changes} if changes else None


def _too_long(rig: Rig) -> Engine:
    return {"contextLength": 131_072, "gpuMemoryUtilization": rig.share(_SHARE)}


def climb(next_settings: NextSettings, room: Room) -> None:
    """Start, and start again with what the end of the one before suggests, until one serves."""
    began, rungs = time.monotonic(), []
    engine = _too_long(room.rig)
    for rung in range(_RUNGS):
        if rung:
            room.start(room.rig.plan(f"{room.server.plan.name}-{rung}", **engine))
        if room.server.until_ready(_START_SECONDS):
            rungs.append("serving")
            break
        report = room.server.end(5).report
        if not room.findings.check("it reports", report is not None) or report is None:
            break
        rungs.append(report.failure.value)
        changed = next_settings(report.failure, _suggestion(report, room), engine)
        if changed is None:
            break
        engine = changed
    room.findings.check("one serves in the end", rungs[-1:] == ["serving"], rungs)
    room.findings.note(
        rungs=" > ".join(rungs),
        engine=str(dict(engine)),
        seconds=round(time.monotonic() - began, 1),
    )


def _suggestion(report: TerminationReport, room: Room) -> Mapping[str, Any]:
    said: Mapping[str, Any] | None = getattr(report, "suggest", None)
    verdict = room.server.log.verdict
    return said or (verdict.suggest if verdict else {})


def _plan(rig: Rig) -> tuple[Plan, ...]:
    return (rig.plan("ladder", **_too_long(rig)),)


SCENARIOS = (
    Scenario(
        "ladder",
        30,
        110,
        _plan,
        (Step("climb", partial(climb, take_the_suggestion), 300), BOOT),
    ),
)
