"""Starts of one server one after the other, which keep their compiled code as pods on one claim do.

None is held: what matters is a start from its beginning.
"""

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mistral_dev.gpu import cards
from mistral_dev.gpu.rig import Plan, Rig
from mistral_dev.gpu.scenario import Scenario, ScenarioContext, Step
from mistral_server.contract import COMPILE_CACHE_ENV, CompileCacheUse, SignalDocument

_START_SECONDS = 170.0
_STOP_SECONDS = 30.0
_FREE_SECONDS = 15.0
_LIMIT = _START_SECONDS + _STOP_SECONDS + _FREE_SECONDS
_OTHER_TOKENS = 4096
"""Of a step, instead of 8192: torch.compile compiles for a range of them."""
_GAIN_SECONDS = 10.0
"""Least time that profiling and warm-up save with kept code; 25 s were measured on an H200."""


def plan(rig: Rig, name: str, **engine: object) -> Plan:
    """Return a server with CUDA graphs that keeps its compiled code with the others'."""
    kept = {COMPILE_CACHE_ENV: str(_directory(rig))}
    # Of none of them the machine's own caches, which an earlier scenario may have filled.
    own = {
        "VLLM_CACHE_ROOT": str(rig.work / f"{name}.vllm"),
        "TRITON_CACHE_DIR": str(rig.work / f"{name}.triton"),
    }
    made = rig.plan(name, eager=False, **engine)
    return Plan(made.name, made.spec, environment={**own, **kept})


def start(
    name: str, use: CompileCacheUse, engine: Mapping[str, object], room: ScenarioContext
) -> None:
    """Start a server, note its stages and what it did with compiled code, and stop it."""
    server, findings = room.start(plan(room.rig, name, **engine)), room.findings
    if not findings.check("the server becomes ready", server.wait_until_ready(_START_SECONDS)):
        findings.failed.append(server.log.tail(3))
        return
    stages = json.loads(server.get("/startupz")[1])["finished"]
    report = SignalDocument.read(server.get("/signals")[1]).compile_cache
    findings.row("stages", ready_s=server.ready_seconds, **stages)
    findings.note(
        compiled_s=round(stages["profiling"] + stages["warming-up"], 1),
        kept_mb=round(_size(_directory(room.rig)) / 1e6, 1),
    )
    findings.equal("compiled code", report and report.use, use)
    findings.equal("why it is not kept", report and report.reason, "")
    findings.equal("status of a chat", room.chat().status, 200)
    server.signal(signal.SIGTERM)
    findings.equal("exit code", server.wait_or_kill(_STOP_SECONDS).code, 0)
    if room.gpus:
        cards.wait_until_free(room.gpus, _FREE_SECONDS)


@dataclass
class Starts:
    """The starts of one scenario, and the seconds in which each one compiled or loaded."""

    seconds: dict[str, float] = field(default_factory=dict)

    def run(
        self, name: str, use: CompileCacheUse, engine: Mapping[str, object], room: ScenarioContext
    ) -> None:
        """Start a server, and compare the second start with the first."""
        start(name, use, engine, room)
        self.seconds[name] = room.findings.figures.get("compiled_s", 0.0)
        if name != "kept" or room.rig.device == "cpu":
            return
        saved = round(self.seconds.get("cold", 0.0) - self.seconds[name], 1)
        room.findings.note(saved_s=saved)
        room.findings.check("kept code saves time", saved >= _GAIN_SECONDS, saved)


def damage(room: ScenarioContext) -> int:
    """Cut the models that torch.compile stored, as a full disk may have; return how many."""
    stored = list(
        _directory(room.rig).glob("*/vllm/torch_compile_cache/torch_aot_compile/*/*/model")
    )
    for path in stored:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return len(stored)


def damaged(room: ScenarioContext) -> None:
    """Start a server whose compiled code is damaged: vLLM compiles it again."""
    stored = damage(room)
    room.findings.note(damaged=stored)
    # An eager engine, as on CPUs, stores no model.
    start("damaged", "miss" if stored else "hit", {}, room)


def _directory(rig: Rig) -> Path:
    return rig.work / "compiled"


def _size(directory: Path) -> int:
    return sum(one.stat().st_size for one in directory.rglob("*") if one.is_file())


def _steps() -> tuple[Step, ...]:
    run, other = Starts().run, {"maxBatchedTokens": _OTHER_TOKENS}
    return (
        Step("cold", partial(run, "cold", "miss", {}), _LIMIT),
        Step("kept", partial(run, "kept", "hit", {}), _LIMIT),
        Step("other-argument", partial(run, "other-argument", "miss", other), _LIMIT),
        Step("damaged", damaged, _LIMIT, least=120),
    )


SCENARIOS = (
    Scenario(
        "compile-cache",
        priority=12,
        seconds=360,  # without the last part, for which some more may be left
        plans=lambda _rig: (),
        steps=_steps(),
        held=False,
        on_cpu=True,
        alone=True,
    ),
)
