"""Scenarios with a fake engine that prints recorded logs, and the processes left after them."""

import json
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mistral_dev.gpu.choice import chosen
from mistral_dev.gpu.findings import Result
from mistral_dev.gpu.machine import Selection, prove
from mistral_dev.gpu.rig import TINY, Plan, Rig
from mistral_dev.gpu.run_output import finished_scenarios
from mistral_dev.gpu.runner import Runner
from mistral_dev.gpu.scenario import Scenario, ScenarioContext, Step
from mistral_dev.gpu.scenarios import ALL
from mistral_dev.gpu.scenarios.ladder import SCENARIOS as LADDER
from server_runner import SERVER_SOURCE, fake_site

pytestmark = pytest.mark.process

LOGS = Path(__file__).parents[2] / "data" / "oom-logs"


@dataclass(frozen=True)
class FakeRig(Rig):
    """A machine whose engine fails with a recorded log while the context is as long as that."""

    log: str = ""
    too_long: int = 0

    def plan(self, name: str, eager: bool = True, **engine: Any) -> Plan:
        """Return a plan with the behavior of the fake engine."""
        plan = super().plan(name, eager, **engine)
        length = plan.spec.engine.context_length
        fails = self.log and (length == "auto" or length >= self.too_long)
        behavior = {"noise": str(LOGS / self.log), "exit_code": 1} if fails else {}
        return Plan(name, plan.spec, environment={"FAKE_ENGINE": json.dumps(behavior)})


def fake_rig(directory: Path, log: str = "", too_long: int = 0) -> FakeRig:
    """Make a machine with two pretended GPUs."""
    model = directory / "model"
    model.mkdir()
    for name in ("params.json", "consolidated.safetensors"):
        (model / name).write_text("{}")
    work = directory / "work"
    work.mkdir()
    sources = str(fake_site(directory)), str(SERVER_SOURCE)
    return FakeRig(
        "cpu",
        (0, 1),
        0,
        sys.executable,
        sources,
        str(model),
        work,
        TINY,
        log=log,
        too_long=too_long,
    )


def run(rig: Rig, scenarios: list[Scenario], seconds: float = 60) -> list[Result]:
    """Run scenarios and return the results."""
    results: list[Result] = []
    Runner(rig, scenarios, seconds, results.append).run()
    return results


@pytest.mark.parametrize(
    ("name", "log"),
    [
        ("kv-too-small", "KVCacheTooSmall.tp1.log"),
        ("kv-none", "KVCacheNone.tp1.log"),
        ("oom-profile", "CudaOomWarmup.profile-text.log"),
    ],
)
def test_a_recorded_failure_passes_the_scenario_that_is_about_it(
    tmp_path: Path, name: str, log: str
) -> None:
    (one,) = run(fake_rig(tmp_path, log), chosen(ALL, [name], cpu=False))

    assert (one.outcome, one.failed) == ("PASS", ())
    assert one.figures["exit_s"] < 10


def test_another_failure_than_the_expected_one_fails(tmp_path: Path) -> None:
    (one,) = run(fake_rig(tmp_path, "KVCacheNone.tp1.log"), chosen(ALL, ["kv-too-small"], False))

    assert one.outcome == "FAIL"
    assert one.failed == (
        "class: 'KVCacheNone' instead of 'KVCacheTooSmall'",
        "exit code: 82 instead of 81",
    )


def test_the_ladder_ends_with_a_server_that_serves(tmp_path: Path) -> None:
    rig = fake_rig(tmp_path, "KVCacheTooSmall.tp1.log", too_long=100_000)
    climbed = run(rig, [Scenario("ladder", 1, 10, LADDER[0].plans, LADDER[0].steps[:1])])[0]

    assert (climbed.outcome, climbed.failed) == ("PASS", ())
    assert climbed.figures["rungs"] == "KVCacheTooSmall > serving"


def test_a_part_that_hangs_is_ended_and_nothing_is_left(tmp_path: Path) -> None:
    contexts: list[ScenarioContext] = []

    def hang(context: ScenarioContext) -> None:
        contexts.append(context)
        assert context.server.wait_until_ready(20)
        context.server.wait_for(lambda: False, 600)

    def plans(rig: Rig) -> tuple[Plan, ...]:
        return (rig.plan("hangs"),)

    (one,) = run(
        fake_rig(tmp_path), [Scenario("hangs", 1, 5, plans, (Step("part", hang, 6),), held=False)]
    )

    assert one.outcome == "ERROR"
    assert "took longer than 6 s" in one.failed
    assert contexts[0].server.wait_or_kill().processes_left == 0


def test_a_part_that_times_out_keeps_its_findings(tmp_path: Path) -> None:
    def slow(context: ScenarioContext) -> None:
        context.findings.row("first", requests=64)
        time.sleep(1.5)
        context.findings.row("second", requests=64)
        context.findings.equal("failed", 64, 0)
        raise LookupError("the servers were ended")

    (one,) = run(
        fake_rig(tmp_path), [Scenario("slow", 1, 1, lambda _rig: (), (Step("part", slow, 1),))]
    )

    assert one.outcome == "ERROR"
    assert one.failed == ("took longer than 1 s",)
    assert one.rows == {"first": {"requests": 64}}


def test_a_part_that_could_not_end_in_time_is_cut_and_the_others_are_not(tmp_path: Path) -> None:
    steps = (
        Step("long", lambda _context: None, 100, least=90),
        Step("short", lambda _context: None, 5),
    )
    long, short = run(fake_rig(tmp_path), [Scenario("both", 1, 1, lambda _rig: (), steps)])

    assert (long.part, long.outcome, long.figures) == ("long", "CUT", {"why": "no time left"})
    assert (short.part, short.outcome) == ("short", "PASS")


def test_a_part_that_breaks_does_not_keep_the_others_from_running(tmp_path: Path) -> None:
    def bad(_context: ScenarioContext) -> None:
        raise LookupError("nothing there")

    scenarios = [
        Scenario(name, 1, 1, lambda _rig: (), (Step("part", part, 5),))
        for name, part in (("bad", bad), ("good", lambda _context: None))
    ]
    results = {one.scenario: one for one in run(fake_rig(tmp_path), scenarios)}

    assert results["bad"].outcome == "ERROR"
    assert results["bad"].failed[-1] == "LookupError: nothing there"
    assert results["good"].outcome == "PASS"


def test_servers_that_cannot_be_started_do_not_keep_the_others_from_running(
    tmp_path: Path,
) -> None:
    def none(_rig: Rig) -> tuple[Plan, ...]:
        raise OSError("no such program")

    scenarios = [
        Scenario(name, 1, 1, plans, (Step("part", lambda _context: None, 5),))
        for name, plans in (("bad", none), ("good", lambda _rig: ()))
    ]
    results = {one.scenario: one for one in run(fake_rig(tmp_path), scenarios)}

    assert (results["bad"].part, results["bad"].outcome) == ("start", "ERROR")
    assert results["good"].outcome == "PASS"


def test_what_has_no_time_or_no_gpus_is_named(tmp_path: Path) -> None:
    scenarios = [
        Scenario("long", 1, 1000, lambda _rig: (), ()),
        Scenario("wide", 1, 1, lambda _rig: (), (), gpus=4),
        Scenario("large", 1, 1, lambda _rig: (), (), memory_mib=135_000),
    ]
    rig = replace(fake_rig(tmp_path), device="cuda", memory_mib=81_559)
    results = {one.scenario: one for one in run(rig, scenarios)}

    assert results["long"].figures["why"] == "no time left"
    assert results["wide"].figures["why"] == "needs 4 GPUs"
    assert results["large"].figures["why"] == "needs a GPU of 135,000 MiB"


def test_while_a_scenario_runs_alone_no_other_one_does(tmp_path: Path) -> None:
    running: list[str] = []
    met: list[list[str]] = []

    def part(name: str, _context: ScenarioContext) -> None:
        running.append(name)
        time.sleep(0.1)
        met.append(list(running))
        running.remove(name)

    scenarios = [
        Scenario(name, 1, 1, lambda _rig: (), (Step("part", partial(part, name), 5),), alone=alone)
        for name, alone in (("shared", False), ("alone", True), ("shared-too", False))
    ]
    run(fake_rig(tmp_path), scenarios)

    assert met[0] == ["alone"]
    assert len(met) == 3


def test_a_second_run_leaves_out_what_the_first_did(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rig = fake_rig(tmp_path, "KVCacheTooSmall.tp1.log")
    failed = prove(rig, Selection(["kv-too-small"]), 60, out)

    assert failed == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "logs.tar.xz",
        "results.json",
        "table.txt",
    ]
    assert finished_scenarios(out) == []  # without a GPU none of these is run
    assert "CUT" in (out / "table.txt").read_text()


@pytest.mark.parametrize(
    ("alone", "together"), [(False, True), (True, False)], ids=["two GPUs of three", "alone"]
)
def test_a_gpu_that_no_wide_scenario_needs_works_meanwhile(
    tmp_path: Path, alone: bool, together: bool
) -> None:
    under_way: set[str] = set()
    met: list[set[str]] = []

    def work(name: str, context: ScenarioContext) -> None:
        under_way.add(name)
        time.sleep(1.0)
        met.append(set(under_way))
        under_way.discard(name)

    def scenario(name: str, **more: Any) -> Scenario:
        return Scenario(
            name, 1, 1, lambda _rig: (), (Step("work", partial(work, name), 5),), **more
        )

    wide = scenario("wide", alone=True) if alone else scenario("wide", gpus=2)
    rig = replace(fake_rig(tmp_path), gpus=(0, 1, 2))
    results = run(rig, [wide, scenario("narrow")])

    assert [one.outcome for one in results] == ["PASS", "PASS"]
    assert ({"wide", "narrow"} in met) is together
