"""Other memory layouts, and whether `fit` predicts each."""

from dataclasses import replace
from functools import partial
from typing import Any

from mistral_dev.gpu.rig import Plan, Rig
from mistral_dev.gpu.scenario import Scenario
from mistral_dev.gpu.scenarios.answers import CHAT
from mistral_dev.gpu.scenarios.boot import BOOT


def _plan(name: str, engine: dict[str, Any], rig: Rig) -> tuple[Plan, ...]:
    return (rig.plan(name, **engine),)


def _quantized(rig: Rig) -> tuple[Plan, ...]:
    plan = rig.plan("fit-fp8-weights")
    model = plan.spec.model.model_copy(update={"quantization": "fp8"})
    return (replace(plan, spec=plan.spec.model_copy(update={"model": model})),)


def _fits(name: str, priority: int, **engine: Any) -> Scenario:
    return Scenario(name, priority, 22, partial(_plan, name, engine), (BOOT, CHAT))


SCENARIOS = (
    _fits("fit-131072", 31, contextLength=131_072),
    _fits("fit-auto-70", 32, gpuMemoryUtilization=0.70),
    _fits("fit-fp8-cache", 33, kvCache={"dtype": "fp8"}),
    Scenario("fit-fp8-weights", 34, 25, _quantized, (BOOT, CHAT)),
    _fits("fit-ngram", 35, speculation={}),
    _fits("fit-97", 45, gpuMemoryUtilization=0.97),
)
