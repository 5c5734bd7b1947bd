"""Starts that read weights of the real size: from the disk, and from the page cache."""

import json
import shutil
import signal
import time
from functools import partial
from pathlib import Path

from mistral_dev.gpu import cards
from mistral_dev.gpu.model import PARAMS
from mistral_dev.gpu.rig import Plan, Rig
from mistral_dev.gpu.scenario import Scenario, ScenarioContext, Step
from mistral_dev.gpu.weights import drop_from_page_cache, weights_file, write_weights

_WRITE_SECONDS = 240.0
_START_SECONDS = 240.0
_STOP_SECONDS = 30.0
_FREE_SECONDS = 15.0
_READ = r"Loading weights took ([\d.]+) seconds"


def plan(rig: Rig, name: str) -> Plan:
    """Return an eager server that reads its weights."""
    made = rig.plan(name)
    return Plan(made.name, made.spec, weights=_directory(rig))


def write(context: ScenarioContext) -> None:
    """Write the weights beside a copy of the model's other files."""
    if context.rig.device == "cpu":
        return  # the tiny checkpoint has weights
    directory = _directory(context.rig)
    shutil.copytree(context.rig.model, directory, dirs_exist_ok=True)
    started = time.monotonic()
    size = write_weights(directory, PARAMS).stat().st_size
    seconds = time.monotonic() - started
    context.findings.note(gb=round(size / 1e9, 2), gb_per_second=round(size / 1e9 / seconds, 2))


def start(name: str, cached: bool, context: ScenarioContext) -> None:
    """Start a server, note how long it loads, and stop it.

    Args:
        name: of the server.
        cached: read what the page cache has; otherwise the file is dropped from it before.
        context: the machine.
    """
    file, findings = weights_file(_directory(context.rig)), context.findings
    if not cached:
        drop_from_page_cache(file)
    server = context.start(plan(context.rig, name), held=True)
    if not findings.check("the server becomes ready", server.wait_until_ready(_START_SECONDS)):
        findings.failed.append(server.log.tail(3))
        return
    stages = json.loads(server.get("/startupz")[1])["finished"]
    findings.row("stages", ready_s=server.ready_seconds, **stages)
    findings.note(
        loading_s=stages["loading"],
        gb_per_second=round(file.stat().st_size / 1e9 / max(stages["loading"], 0.01), 2),
        host_memory_gib=round(server.memory_peak / 2**30, 1),
    )
    read = server.log.number(_READ) or 0.0
    findings.check("the stage is that of loading", stages["loading"] >= read > 0, f"{read} s")
    findings.equal("status of a chat", context.chat().status, 200)
    server.signal(signal.SIGTERM)
    findings.equal("exit code", server.wait_or_kill(_STOP_SECONDS).code, 0)
    if context.gpus:
        cards.wait_until_free(context.gpus, _FREE_SECONDS)


def _directory(rig: Rig) -> Path:
    return rig.work / "weights" if rig.device == "cuda" else Path(rig.model)


_LIMIT = _START_SECONDS + _STOP_SECONDS + _FREE_SECONDS

SCENARIOS = (
    Scenario(
        "weights",
        priority=13,
        seconds=200,
        plans=lambda _rig: (),
        steps=(
            Step("write", write, _WRITE_SECONDS),
            Step("disk", partial(start, "disk", False), _LIMIT),
            Step("page-cache", partial(start, "page-cache", True), _LIMIT),
        ),
        held=False,
        on_cpu=True,
        alone=True,
        disk_bytes=50_000_000_000,
    ),
)
