"""What `spec.engine.speculation` and `kvOffload` change, and that nothing else does."""

import time
from dataclasses import replace

from mistral_dev.gpu.rig import Plan, Rig
from mistral_dev.gpu.scenario import Scenario, ScenarioContext, Step
from mistral_dev.gpu.scenarios.answers import CHAT, STREAM
from mistral_dev.gpu.scenarios.boot import BOOT
from mistral_dev.gpu.scenarios.loops import COUNTS, LOOPS
from mistral_dev.gpu.scenarios.ranks import SHARED_MEMORY

_PROMPTS, _TOKENS = 6, 6000
"""Together more than the KV cache of `kv-offload` holds, which is 26,208 tokens."""


def _speculating(rig: Rig) -> tuple[Plan, ...]:
    return (rig.plan("ngram", eager=False, speculation={}),)


def _offloading(rig: Rig) -> tuple[Plan, ...]:
    plan = rig.plan(
        "kv-offload",
        tensorParallelSize=2,
        contextLength=8192,
        kvCache={"memory": "2Gi"},
        kvOffload={"size": "8Gi"},
    )
    return (replace(plan, own_shm=True),)


def again(context: ScenarioContext) -> None:
    """Send prompts twice; the second time, only the memory of the host has all of them."""
    seconds = [_send_all(context) for _ in range(2)]
    context.findings.note(first_s=round(seconds[0], 2), again_s=round(seconds[1], 2))
    context.findings.check("the second time is faster", seconds[1] < seconds[0] / 2, str(seconds))


def _send_all(context: ScenarioContext) -> float:
    started = time.monotonic()
    for number in range(_PROMPTS):
        prompt = [1000 + (7 + number) * at % 100_000 for at in range(_TOKENS)]
        body = {"prompt": prompt, "max_tokens": 1}
        response = context.alive().send(body, "/v1/completions", seconds=60)
        context.findings.equal("status", response.status, 200)
    return time.monotonic() - started


SCENARIOS = (
    Scenario("ngram", 46, 150, _speculating, (BOOT, CHAT, STREAM, LOOPS, COUNTS), held=False),
    Scenario(
        "kv-offload",
        47,
        90,
        _offloading,
        (BOOT, SHARED_MEMORY, CHAT, Step("again", again, 60)),
        gpus=2,
    ),
)
