"""Real out-of-memory failures: each kind, and the class that it is given.

The shares are those of an 80 GB card: 44.76 GiB of weights, and 2.65 GiB for the computation of
8,192 batched tokens (vLLM 0.32, eager). On a larger one they become the shares that take, or leave,
as much memory.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mistral_dev.gpu.hog import Hog
from mistral_dev.gpu.rig import Plan, Rig
from mistral_dev.gpu.scenario import Scenario, ScenarioContext, Step
from mistral_dev.gpu.scenarios.answers import image_prompt
from mistral_dev.gpu.scenarios.boot import BOOT
from mistral_dev.gpu.scenarios.exits import expect_failure, expect_free
from mistral_dev.gpu.scenarios.kills import busy
from mistral_server.contract import FailureClass, Phase

_START_SECONDS = 90.0
_COMPILE_SECONDS = 120.0
"""Up to the KV cache: 32 s alone on the machine, 50 beside another that compiles."""
_DEATH_SECONDS = 45.0

_TOO_LITTLE = "leave 40000"
"""Less than the weights."""
_NO_ROOM = "leave 150"
"""Less than a CUDA context takes."""
_ALMOST_FULL = "leave 20"
"""The engine keeps memory that it freed; what it needs beyond that is not there."""
_IN_FLIGHT = 32
"""Each adds a traceback of its own behind the root cause."""
_BEFORE_WARM_UP = r"GPU KV cache size"

Trigger = Callable[[ScenarioContext], None]


@dataclass(frozen=True)
class _Memory:
    """The memory settings of a server."""

    takes: float | None = None
    """Share of an 80 GB card that it may take."""
    leaves: float | None = None
    """The same, where it matters how much is left."""
    context: int | None = 32_768
    batched: int = 8192
    eager: bool = True

    def engine(self, rig: Rig) -> dict[str, Any]:
        share = rig.share(self.takes) if self.takes else rig.all_but(self.leaves or 0.9)
        length = {} if self.context is None else {"contextLength": self.context}
        return {"gpuMemoryUtilization": share, "maxBatchedTokens": self.batched, **length}


def _plan(name: str, memory: _Memory, rig: Rig) -> tuple[Plan, ...]:
    return (rig.plan(name, memory.eager, **memory.engine(rig)),)


def _plan_of_huge_steps(name: str, memory: _Memory, rig: Rig) -> tuple[Plan, ...]:
    """Compute more tokens in a step than a resource allows: 54 GiB of activations."""
    changes = {"max_batched_tokens": 262_144 * round(1 / rig.share(1.0))}
    return (replace(_plan(name, memory, rig)[0], changes=changes),)


def fail_to_start(failure: FailureClass, held_back: str, context: ScenarioContext) -> None:
    """Start it, on a GPU of which a neighbor may hold some, and see it fail."""
    if held_back:
        with Hog(context.gpus[0]) as hog:
            context.findings.note(hog=hog.execute(held_back))
            expect_failure(context, failure, _START_SECONDS)
    else:
        expect_failure(context, failure, _START_SECONDS)
    expect_free(context)


def fail_to_warm_up(context: ScenarioContext) -> None:
    """Take what is left once the KV cache is there.

    Eager, vLLM 0.32 warms up in memory that its profiling left; with CUDA graphs it needs more.
    """
    with Hog(context.gpus[0]) as hog:
        context.server.release()
        context.server.wait_for(
            lambda: context.server.log.find(_BEFORE_WARM_UP) is not None, _COMPILE_SECONDS
        )
        context.findings.note(hog=hog.execute("below 12000 10"))
        expect_failure(context, FailureClass.CUDA_OOM_WARMUP, _START_SECONDS)
    expect_free(context)


def fail_at_images(context: ScenarioContext) -> None:
    """Send the largest request that the API allows, on a GPU that a neighbor has filled.

    Without the neighbor vLLM 0.32 answers it at every share: it profiles the image encoder too.
    """
    scale = context.rig.scale
    context.alive()
    with Hog(context.gpus[0]) as hog:
        context.findings.note(hog=hog.execute(_ALMOST_FULL))
        response = context.server.send(image_prompt(scale.images, scale.image_side), seconds=60)
        context.findings.note(status=response.status)
        expect_failure(context, FailureClass.CUDA_OOM_RUNTIME, _DEATH_SECONDS)
        classification = context.server.log.classification
        context.findings.equal("phase", classification and classification.phase, Phase.IMAGES)
    expect_free(context)


def fail_at_a_long_prompt(context: ScenarioContext) -> None:
    """Compute a long prompt on a GPU that a neighbor has filled."""
    tokens = [1000 + 7 * at % 100_000 for at in range(context.rig.scale.fill_tokens)]
    body = {"prompt": tokens, "max_tokens": 2}
    for _ in range(_IN_FLIGHT):
        busy(context)
    time.sleep(2.0)
    with Hog(context.gpus[0]) as hog:
        context.findings.note(hog=hog.execute(_ALMOST_FULL))
        for _ in range(3):  # the engine holds some memory that it freed
            if context.server.send(body, "/v1/completions", seconds=60).status != 200:
                break
        expect_failure(context, FailureClass.CUDA_OOM_RUNTIME, _DEATH_SECONDS)
    expect_free(context)


def _start(
    name: str, priority: int, failure: FailureClass, memory: _Memory, hog: str = ""
) -> Scenario:
    step = Step("end", partial(fail_to_start, failure, hog), 150)
    return Scenario(name, priority, 22, partial(_plan, name, memory), (step,))


def _running(name: str, priority: int, memory: _Memory, part: Trigger) -> Scenario:
    steps = (BOOT, Step("end", part, 150))
    return Scenario(name, priority, 35, partial(_plan, name, memory), steps)


_TOO_LONG = _Memory(takes=0.70, context=131_072)
_NOTHING_LEFT = _Memory(takes=0.57, context=131_072)
_NOTHING_LEFT_AUTO = _Memory(takes=0.57, context=None)
_SMALL_SHARE = _Memory(takes=0.40)
_USUAL = _Memory(leaves=0.90)
_CUDA_GRAPHS = _Memory(leaves=0.90, eager=False)
_LARGE_STEPS = _Memory(leaves=0.93, batched=16_384)
_ALL_OF_IT = _Memory(leaves=0.98, context=131_072)

SCENARIOS = (
    _start("kv-too-small", 20, FailureClass.KV_CACHE_TOO_SMALL, _TOO_LONG),
    _start("gpu-busy", 21, FailureClass.GPU_BUSY, _USUAL, hog=_TOO_LITTLE),
    _running("oom-images-full", 22, _LARGE_STEPS, fail_at_images),
    _start("oom-load", 23, FailureClass.CUDA_OOM_LOAD, _SMALL_SHARE, hog=_TOO_LITTLE),
    Scenario(
        "oom-capture",
        24,
        75,  # of which torch.compile takes 20 to 30
        partial(_plan, "oom-capture", _CUDA_GRAPHS),
        (Step("end", fail_to_warm_up, 220),),
    ),
    _running("oom-long-prompt", 25, _Memory(leaves=0.93), fail_at_a_long_prompt),
    _start("kv-none", 26, FailureClass.KV_CACHE_NONE, _NOTHING_LEFT),
    _start("kv-none-auto", 41, FailureClass.KV_CACHE_NONE, _NOTHING_LEFT_AUTO),
    Scenario(
        "oom-profile",
        42,
        25,
        partial(_plan_of_huge_steps, "oom-profile", _ALL_OF_IT),
        (Step("end", partial(fail_to_start, FailureClass.CUDA_OOM_WARMUP, ""), 150),),
    ),
    _start("gpu-full", 43, FailureClass.GPU_BUSY, _USUAL, hog=_NO_ROOM),
)
