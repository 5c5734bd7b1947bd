"""Tensor parallelism over two GPUs: the deployment of `spec: {}`."""

import os
from dataclasses import replace
from functools import partial
from typing import Any

from mistral_dev.gpu.rig import Plan, Rig
from mistral_dev.gpu.scenario import Scenario, ScenarioContext, Step
from mistral_dev.gpu.scenarios.answers import CHAT, IMAGES, STREAM
from mistral_dev.gpu.scenarios.boot import BOOT
from mistral_dev.gpu.scenarios.gate_cost import GATE_COST
from mistral_dev.gpu.scenarios.kills import kill_named
from mistral_dev.gpu.scenarios.loops import COUNTS, LOOPS
from mistral_dev.gpu.scenarios.tools import TOOLS

_WORKER = "Worker"


def _two(name: str, rig: Rig, eager: bool = False, **engine: Any) -> tuple[Plan, ...]:
    plan = rig.plan(name, eager=eager, tensorParallelSize=2, **engine)
    return (replace(plan, own_shm=True),)


def _over_nccl(name: str, rig: Rig) -> tuple[Plan, ...]:
    """Let the ranks add up through NCCL, where GPUs cannot reach each other's memory."""
    return _two(name, rig, eager=True, extraArgs=["--disable-custom-all-reduce"])


def shared_memory(context: ScenarioContext) -> None:
    """See what the ranks take of a /dev/shm of the pod's size, and which ranks there are."""
    server, findings = context.alive(), context.findings
    held = os.statvfs(f"/proc/{server.process.pid}/root/dev/shm")
    size, free = held.f_blocks * held.f_frsize, held.f_bfree * held.f_frsize
    findings.note(shm_mib=size >> 20, shm_used_mib=(size - free) >> 20)
    findings.check("something is left of /dev/shm", free > size // 4, f"{free >> 20} MiB")
    ranks = [number for number in (0, 1) if server.log.find(rf"Worker_TP{number}\b")]
    findings.equal("ranks in the log", ranks, [0, 1])


SHARED_MEMORY = Step("shared-memory", shared_memory, 20)

SCENARIOS = (
    Scenario(
        "two-ranks",
        5,
        290,
        partial(_two, "two-ranks"),
        (
            BOOT,
            *(SHARED_MEMORY, CHAT, STREAM, TOOLS, LOOPS, IMAGES, COUNTS, GATE_COST),
            Step("rank-killed", partial(kill_named, _WORKER), 120),
        ),
        gpus=2,
        held=False,
        on_cpu=True,
    ),
    Scenario(
        "two-ranks-nccl",
        6,
        50,
        partial(_over_nccl, "two-ranks-nccl"),
        (BOOT, SHARED_MEMORY, CHAT, STREAM),
        gpus=2,
    ),
)
