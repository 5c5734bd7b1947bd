"""A lack of memory, made for real: each way in which it shows, and the class that names it.

The figures are those of an 80 GB card: 44.76 GiB of weights, 1.69 GiB of activations for 8,192
batched tokens.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from mistral_dev.gpu.hog import Hog
from mistral_dev.gpu.rig import Plan, Rig
from mistral_dev.gpu.scenario import Room, Scenario, Step
from mistral_dev.gpu.scenarios.answers import image_prompt
from mistral_dev.gpu.scenarios.boot import BOOT
from mistral_dev.gpu.scenarios.deaths import busy
from mistral_dev.gpu.scenarios.ends import expect, expect_free
from mistral_server.contract import FailureClass

_START_SECONDS = 90.0
_DEATH_SECONDS = 45.0

_HALF_A_CARD = "take 40000"
_NO_ROOM = "leave 150"
"""Less than a CUDA context takes."""
_ALMOST_FULL = "leave 20"
_IN_FLIGHT = 32
"""Each adds a traceback of its own behind the root cause."""
_BEFORE_WARM_UP = r"GPU KV cache size"

Trigger = Callable[[Room], None]


def _plan(name: str, engine: dict[str, Any], changes: dict[str, Any], rig: Rig) -> tuple[Plan, ...]:
    return (replace(rig.plan(name, **engine), changes=changes),)


def fail_to_start(failure: FailureClass, held_back: str, room: Room) -> None:
    """Start it, on a GPU of which a neighbour may hold some, and see it fail."""
    if held_back:
        with Hog(room.gpus[0]) as hog:
            room.findings.note(hog=hog.tell(held_back))
            expect(room, failure, _START_SECONDS)
    else:
        expect(room, failure, _START_SECONDS)
    expect_free(room)


def fail_to_warm_up(room: Room) -> None:
    """Take what is left once the KV cache is there."""
    with Hog(room.gpus[0]) as hog:
        room.server.release()
        room.server.until(lambda: room.server.log.find(_BEFORE_WARM_UP) is not None, _START_SECONDS)
        room.findings.note(hog=hog.tell("below 12000 10"))
        expect(room, FailureClass.CUDA_OOM_WARMUP, _START_SECONDS)
    expect_free(room)


def fail_at_images(room: Room) -> None:
    """Send the largest request that the API allows."""
    scale = room.rig.scale
    room.alive()
    began = time.monotonic()
    reply = room.server.ask(dict(image_prompt(scale.images, scale.image_side)), seconds=60)
    room.findings.note(status=reply.status)
    expect(room, FailureClass.CUDA_OOM_RUNTIME, _DEATH_SECONDS)
    room.findings.note(after_request_s=round(time.monotonic() - began, 1))
    expect_free(room)


def fail_at_a_long_prompt(room: Room) -> None:
    """Compute a long prompt on a GPU that a neighbour has filled."""
    tokens = [1000 + 7 * at % 100_000 for at in range(room.rig.scale.fill_tokens)]
    body = {"prompt": tokens, "max_tokens": 2}
    for _ in range(_IN_FLIGHT):
        busy(room)
    time.sleep(2.0)
    with Hog(room.gpus[0]) as hog:
        room.findings.note(hog=hog.tell(_ALMOST_FULL))
        for _ in range(3):  # the engine holds some memory that it freed
            if room.server.ask(body, "/v1/completions", seconds=60).status != 200:
                break
        expect(room, FailureClass.CUDA_OOM_RUNTIME, _DEATH_SECONDS)
    expect_free(room)


def _start(
    name: str,
    priority: int,
    failure: FailureClass,
    engine: dict[str, Any],
    changes: dict[str, Any] | None = None,
    hog: str = "",
) -> Scenario:
    part = partial(fail_to_start, failure, hog)
    plans = partial(_plan, name, engine, changes or {})
    return Scenario(name, priority, 35, plans, (Step("end", part, 150),))


def _running(name: str, priority: int, engine: dict[str, Any], part: Trigger) -> Scenario:
    steps = (BOOT, Step("end", part, 150))
    return Scenario(name, priority, 55, partial(_plan, name, engine, {}), steps)


_TOO_LONG = {"contextLength": 131_072, "gpuMemoryUtilization": 0.70}
_NOTHING_LEFT = {"contextLength": 131_072, "gpuMemoryUtilization": 0.57}
_SHORT = {"contextLength": 32_768, "gpuMemoryUtilization": 0.90}
_SMALL_SHARE = {"contextLength": 32_768, "gpuMemoryUtilization": 0.40}
_LARGE_SHARE = {"contextLength": 131_072, "gpuMemoryUtilization": 0.98}
_LARGE_STEPS = {
    "contextLength": 32_768,
    "gpuMemoryUtilization": 0.92,
    "maxBatchedTokens": 16_384,
}

SCENARIOS = (
    _start("kv-too-small", 20, FailureClass.KV_CACHE_TOO_SMALL, _TOO_LONG),
    _start("gpu-busy", 21, FailureClass.GPU_BUSY, _SHORT, hog=_HALF_A_CARD),
    _running("oom-images", 22, _LARGE_STEPS, fail_at_images),
    _start("oom-load", 23, FailureClass.CUDA_OOM_LOAD, _SMALL_SHARE, hog=_HALF_A_CARD),
    Scenario(
        "oom-warm-up",
        24,
        40,
        partial(_plan, "oom-warm-up", _SHORT, {}),
        (Step("end", fail_to_warm_up, 150),),
    ),
    _running(
        "oom-long-prompt", 25, {**_SHORT, "gpuMemoryUtilization": 0.93}, fail_at_a_long_prompt
    ),
    _start("kv-none", 26, FailureClass.KV_CACHE_NONE, _NOTHING_LEFT),
    _start("kv-none-auto", 41, FailureClass.KV_CACHE_NONE, {"gpuMemoryUtilization": 0.57}),
    _start(
        "oom-profile",
        42,
        FailureClass.CUDA_OOM_WARMUP,
        _LARGE_SHARE,
        changes={"max_batched_tokens": 262_144},
    ),
    _start("gpu-full", 43, FailureClass.GPU_BUSY, _SHORT, hog=_NO_ROOM),
)
