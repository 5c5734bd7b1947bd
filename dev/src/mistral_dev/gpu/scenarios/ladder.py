"""From a resource that cannot start to one that serves, by the remedies of the operator."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from mistral_dev.gpu.rig import Plan, Rig
from mistral_dev.gpu.scenario import Scenario, ScenarioContext, Step
from mistral_dev.gpu.scenarios.boot import BOOT
from mistral_operator.api import Oom, Resource, parse_spec
from mistral_operator.api.pod import to_kubernetes
from mistral_operator.oom import Failure, RemedyInputs, decide, effective_resource
from mistral_server.contract import FailureClass, TerminationReport

Engine = Mapping[str, Any]
NextSettings = Callable[[TerminationReport], Engine | None]
"""From what a server reports to the fields of ``spec.engine`` to try next; None is no remedy."""

_RUNGS = 4
_START_SECONDS = 150.0
_SHARE = 0.70
"""Of an 80 GB card: room for some 53,000 tokens beside the weights."""
_SHARE_WITHOUT_CACHE = 0.57
"""Of an 80 GB card: the weights, and no cache beside them."""


class OperatorRemedies:
    """The operator's own decisions, for a resource with one replica and policy Apply."""

    def __init__(self, engine: Engine) -> None:
        spec = parse_spec({"engine": dict(engine), "oom": {"policy": "Apply"}})
        self._first = engine
        self._resource = Resource("ladder", "gpu", "uid", 1, spec)
        self._oom: Oom | None = None
        self._failures: list[Failure] = []

    def __call__(self, report: TerminationReport) -> Engine | None:
        """Return what the operator would render after this end."""
        failure = Failure(
            f"end-{len(self._failures)}",
            "ladder",
            f"settings-{len(self._failures)}",
            FailureClass(report.failure),
            report.phase,
            report.evidence,
            suggest=report.suggest,
        )
        self._failures.append(failure)
        inputs = RemedyInputs(self._failures, failure.configuration)
        self._oom = decide(self._resource, self._oom, inputs)
        if self._oom is None or self._oom.exhausted or self._oom.stopped:
            return None
        engine = to_kubernetes(effective_resource(self._resource, self._oom).spec.engine)
        previous = to_kubernetes(self._resource.spec.engine)
        # Only what changed: the rest is the rig's.
        changed = {name: value for name, value in engine.items() if previous.get(name) != value}
        return {**self._first, **changed}


def _too_long(rig: Rig) -> Engine:
    return {"contextLength": 131_072, "gpuMemoryUtilization": rig.share(_SHARE)}


def climb(first: Callable[[Rig], Engine], context: ScenarioContext) -> None:
    """Start, and start again as the operator would after the end of the one before."""
    began, rungs = time.monotonic(), []
    engine = first(context.rig)
    next_settings: NextSettings = OperatorRemedies(engine)
    for rung in range(_RUNGS):
        if rung:
            context.start(context.rig.plan(f"{context.server.plan.name}-{rung}", **engine))
        if context.server.wait_until_ready(_START_SECONDS):
            rungs.append("serving")
            break
        report = context.server.wait_or_kill(5).report
        if not context.findings.check("it reports", report is not None) or report is None:
            break
        rungs.append(str(report.failure))
        changed = next_settings(report)
        if changed is None:
            break
        engine = changed
    context.findings.check("one serves in the end", rungs[-1:] == ["serving"], rungs)
    context.findings.note(
        rungs=" > ".join(rungs),
        engine=str(dict(engine)),
        seconds=round(time.monotonic() - began, 1),
    )


def _no_cache(rig: Rig) -> Engine:
    return {"gpuMemoryUtilization": rig.share(_SHARE_WITHOUT_CACHE)}


def _ladder(name: str, first: Callable[[Rig], Engine], priority: int) -> Scenario:
    def plan(rig: Rig) -> tuple[Plan, ...]:
        return (rig.plan(name, **first(rig)),)

    return Scenario(name, priority, 95, plan, (Step("climb", partial(climb, first), 300), BOOT))


SCENARIOS = (_ladder("ladder", _too_long, 30), _ladder("ladder-no-cache", _no_cache, 34))
