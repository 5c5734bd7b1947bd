"""Processes that are killed from outside: what is reported, how soon, and that nothing is left."""

import os
import signal
import threading
import time
from functools import partial
from typing import Any

from mistral_dev.gpu.rig import Plan, Rig
from mistral_dev.gpu.scenario import Room, Scenario, Step
from mistral_dev.gpu.scenarios.boot import BOOT
from mistral_dev.gpu.scenarios.ends import expect, expect_free
from mistral_dev.processes import gone
from mistral_server.contract import FailureClass
from mistral_server.supervisor import process_tree

ENGINE = "EngineCore"
_SECONDS = 60.0


def _plan(name: str, rig: Rig) -> tuple[Plan, ...]:
    short: dict[str, Any] = {} if rig.device == "cpu" else {"contextLength": 32_768}
    return (rig.plan(name, **short),)


def busy(room: Room) -> threading.Thread:
    """Keep the server at work while it is killed."""
    body = {"messages": [{"role": "user", "content": "go"}], "max_tokens": 1500, "ignore_eos": True}
    thread = threading.Thread(target=room.alive().ask, args=(body,), daemon=True)
    thread.start()
    return thread


def kill_named(title: str, room: Room) -> None:
    """Kill a process of the engine, as the kernel does when memory ends."""
    asking = busy(room)
    time.sleep(1.0)
    victim = room.server.process_named(title)
    killed = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    expect(room, FailureClass.ENGINE_DIED, _SECONDS, since=killed)
    expect_free(room)
    asking.join(10)


def kill_api(room: Room) -> None:
    """Kill vLLM's main process, whose orphans used to hold the GPU for minutes."""
    asking = busy(room)
    time.sleep(1.0)
    killed = time.monotonic()
    os.kill(room.server.api_process(), signal.SIGKILL)
    expect(room, FailureClass.ENGINE_DIED, _SECONDS, since=killed)
    expect_free(room)
    asking.join(10)


def kill_supervisor(room: Room) -> None:
    """Kill the supervisor: nobody can report that, but nothing may be left."""
    below = process_tree.descendants(room.alive().process.pid)
    killed = time.monotonic()
    room.server.process.kill()
    room.server.process.wait(10)
    while (
        left := [pid for pid in below if not gone(pid)]
    ) and time.monotonic() - killed < _SECONDS:
        time.sleep(0.05)
    room.findings.equal("processes left", left, [])
    room.findings.note(gone_s=round(time.monotonic() - killed, 2))
    expect_free(room)


def _death(name: str, priority: int, step: Step) -> Scenario:
    return Scenario(name, priority, 28, partial(_plan, name), (BOOT, step), on_cpu=True)


SCENARIOS = (
    _death("engine-killed", 27, Step("end", partial(kill_named, ENGINE), 120)),
    _death("api-killed", 28, Step("end", kill_api, 120)),
    _death("supervisor-killed", 44, Step("end", kill_supervisor, 120)),
)
