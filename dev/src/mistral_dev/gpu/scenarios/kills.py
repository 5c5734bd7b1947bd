"""Kill processes from outside: check the report, the delay, and that no process is left."""

import os
import signal
import threading
import time
from functools import partial
from typing import Any

from mistral_dev.gpu.rig import Plan, Rig
from mistral_dev.gpu.scenario import Scenario, ScenarioContext, Step
from mistral_dev.gpu.scenarios.boot import BOOT
from mistral_dev.gpu.scenarios.exits import expect_failure, expect_free
from mistral_dev.processes import has_exited
from mistral_server.contract import FailureClass
from mistral_server.supervisor import process_tree

ENGINE = "EngineCore"
_SECONDS = 60.0


def _plan(name: str, rig: Rig) -> tuple[Plan, ...]:
    short: dict[str, Any] = {} if rig.device == "cpu" else {"contextLength": 32_768}
    return (rig.plan(name, **short),)


def busy(context: ScenarioContext) -> threading.Thread:
    """Keep the server at work while it is killed."""
    body = {"messages": [{"role": "user", "content": "go"}], "max_tokens": 1500, "ignore_eos": True}
    thread = threading.Thread(target=context.alive().send, args=(body,), daemon=True)
    thread.start()
    return thread


def kill_named(title: str, context: ScenarioContext) -> None:
    """Kill a process of the engine, as the kernel does when memory ends."""
    client = busy(context)
    time.sleep(1.0)
    victim = context.server.process_named(title)
    context.findings.note(host_memory_gib=round(context.server.memory_peak / 2**30, 1))
    killed = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    expect_failure(context, FailureClass.ENGINE_DIED, _SECONDS, since=killed)
    expect_free(context)
    client.join(10)


def kill_api(context: ScenarioContext) -> None:
    """Kill vLLM's main process, whose orphans used to hold the GPU for minutes."""
    client = busy(context)
    time.sleep(1.0)
    killed = time.monotonic()
    os.kill(context.server.api_process(), signal.SIGKILL)
    expect_failure(context, FailureClass.ENGINE_DIED, _SECONDS, since=killed)
    expect_free(context)
    client.join(10)


def kill_supervisor(context: ScenarioContext) -> None:
    """Kill the supervisor: there is no report, but no process may be left."""
    below = process_tree.descendants(context.alive().process.pid)
    killed = time.monotonic()
    context.server.process.kill()
    context.server.process.wait(10)
    while (
        left := [pid for pid in below if not has_exited(pid)]
    ) and time.monotonic() - killed < _SECONDS:
        time.sleep(0.05)
    context.findings.equal("processes left", left, [])
    context.findings.note(gone_s=round(time.monotonic() - killed, 2))
    expect_free(context)


def _death(name: str, priority: int, step: Step) -> Scenario:
    return Scenario(name, priority, 28, partial(_plan, name), (BOOT, step), on_cpu=True)


SCENARIOS = (
    _death("engine-killed", 27, Step("end", partial(kill_named, ENGINE), 120)),
    _death("api-killed", 28, Step("end", kill_api, 120)),
    _death("supervisor-killed", 44, Step("end", kill_supervisor, 120)),
)
