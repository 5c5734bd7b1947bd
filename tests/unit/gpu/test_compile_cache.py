"""Starts that keep their compiled code: what each server gets, and what is compared."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mistral_dev.gpu.findings import Findings, result
from mistral_dev.gpu.rig import Plan, Rig
from mistral_dev.gpu.scenario import ScenarioContext
from mistral_dev.gpu.scenarios import compile_cache
from mistral_dev.gpu.table import table
from mistral_server.contract import COMPILE_CACHE_ENV
from mistral_server.engine.argv import engine_arguments
from mistral_server.engine.compile_key import compile_key


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Return a machine with one H200."""
    return Rig("cuda", (0,), 143_771, "python3", ("/packages",), "/model", tmp_path)


def test_all_starts_have_one_directory_and_the_first_two_one_key(rig: Rig) -> None:
    plans = [compile_cache.plan(rig, one) for one in ("cold", "kept")]
    plans.append(compile_cache.plan(rig, "other-argument", maxBatchedTokens=4096))
    environments = [rig.environment(one, (0,)) for one in plans]
    keys = [
        compile_key(rig.settings(one), environment, {}, ())
        for one, environment in zip(plans, environments, strict=True)
    ]

    assert {one[COMPILE_CACHE_ENV] for one in environments} == {str(rig.work / "compiled")}
    assert len({one["VLLM_CACHE_ROOT"] for one in environments}) == 3
    assert keys[0] == keys[1] != keys[2]
    assert all("--enforce-eager" not in engine_arguments(rig.settings(one)) for one in plans)


@dataclass
class FakeServer:
    """A server that was started with a plan, and reports made-up stages."""

    name: str
    report: str
    profiling: float
    ready_seconds: float = 80.0
    signals: list[int] = field(default_factory=list)
    process: Any = None
    log: Any = None

    def wait_until_ready(self, _seconds: float) -> bool:
        """Be ready."""
        return True

    def get(self, path: str) -> tuple[int, str]:
        """Return the page of a server that is ready."""
        if path == "/startupz":
            return 200, f'{{"finished": {{"profiling": {self.profiling}, "warming-up": 15.0}}}}'
        return 200, f'{{"ready": true, "compile_cache": {self.report}}}'

    def signal(self, number: int) -> None:
        """Take a signal."""
        self.signals.append(number)

    def wait_or_kill(self, _seconds: float) -> Any:
        """Exit with 0."""
        return type("Exit", (), {"code": 0})


HIT, MISS = '{"use": "hit"}', '{"use": "miss"}'
FULL = '{"use": "off", "reason": "the claim has less than 512 MiB free"}'


def run(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, servers: list[FakeServer], steps: int = 2
) -> list[Findings]:
    """Run the first steps of the scenario with these servers; return what each one had to say."""
    context = ScenarioContext(rig, ())
    waiting = list(servers)

    def begin(self: ScenarioContext, plan: Plan, held: bool = False) -> Any:
        assert not held
        assert plan.name == waiting[0].name
        self.servers.append(waiting.pop(0))  # type: ignore[arg-type]
        return self.server

    chat = type("Response", (), {"status": 200})
    monkeypatch.setattr(ScenarioContext, "start", begin)
    monkeypatch.setattr(ScenarioContext, "chat", lambda _self: chat)
    done = []
    for step in compile_cache._steps()[:steps]:
        context.findings = Findings()
        step.part(context)
        done.append(context.findings)
    assert all(len(one.signals) == 1 for one in servers)
    return done


def test_a_second_start_that_loads_and_is_faster_passes(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = [FakeServer("cold", MISS, 32.0), FakeServer("kept", HIT, 16.0)]

    first, second = run(rig, monkeypatch, servers)

    assert (first.failed, second.failed) == ([], [])
    assert second.figures["saved_s"] == 16.0
    lines = table([result(("compile-cache", "kept"), (0,), 99.0, second)])
    assert "stages: ready_s=80.0 profiling=16.0 warming-up=15.0" in lines


@pytest.mark.parametrize(
    ("report", "profiling", "failed"),
    [
        (MISS, 16.0, ["compiled code: 'miss' instead of 'hit'"]),
        (HIT, 31.0, ["kept code saves time: 1.0"]),
        ("null", 16.0, ["compiled code: None instead of 'hit'", "why it is not kept: None"]),
        (FULL, 16.0, ["compiled code: 'off' instead of 'hit'", "why it is not kept: 'the claim"]),
    ],
)
def test_a_second_start_that_compiles_or_gains_nothing_fails(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, report: str, profiling: float, failed: list[str]
) -> None:
    servers = [FakeServer("cold", MISS, 32.0), FakeServer("kept", report, profiling)]

    sentences = run(rig, monkeypatch, servers)[1].failed

    assert len(sentences) == len(failed)
    assert all(one.startswith(start) for one, start in zip(sentences, failed, strict=True))


@pytest.mark.parametrize(("stored", "report"), [(True, MISS), (False, HIT)])
def test_the_last_start_has_half_of_each_stored_model(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, stored: bool, report: str
) -> None:
    servers = [
        FakeServer("cold", MISS, 32.0),
        FakeServer("kept", HIT, 16.0),
        FakeServer("other-argument", MISS, 32.0),
        FakeServer("damaged", report, 32.0),
    ]
    folder = "key/vllm/torch_compile_cache/torch_aot_compile/hash/rank_0_0"
    model = rig.work / "compiled" / folder / "model"
    if stored:
        model.parent.mkdir(parents=True)
        model.write_bytes(b"0123456789")

    *_, last = run(rig, monkeypatch, servers, steps=4)

    assert last.failed == []
    assert last.figures["damaged"] == int(stored)
    assert not stored or model.read_bytes() == b"01234"
