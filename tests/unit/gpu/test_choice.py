"""Which scenarios run, in which order, and what a deadline cuts."""

import re
from pathlib import Path

import pytest

from mistral_dev.gpu.choice import Queue, chosen
from mistral_dev.gpu.findings import Findings, result
from mistral_dev.gpu.scenario import Scenario
from mistral_dev.gpu.scenarios import ALL
from mistral_dev.gpu.table import table

DOCUMENT = Path(__file__).parents[3] / "docs" / "gpu.md"


def scenario(name: str, priority: int = 1, seconds: float = 10, on_cpu: bool = True) -> Scenario:
    """Return a scenario without servers."""
    return Scenario(name, priority, seconds, lambda _rig: (), (), on_cpu=on_cpu)


def test_the_most_important_comes_first() -> None:
    listed = [scenario("late", 3), scenario("first", 1), scenario("then", 2)]

    assert [one.name for one in chosen(listed, (), cpu=False)] == ["first", "then", "late"]


@pytest.mark.parametrize(
    ("patterns", "cpu", "expected"),
    [
        ((), False, ["serving", "oom-load", "oom-images"]),
        (("oom-*",), False, ["oom-load", "oom-images"]),
        (("serving", "oom-load"), False, ["serving", "oom-load"]),
        ((), True, ["serving"]),
        (("oom-*",), True, []),
    ],
)
def test_a_pattern_or_a_missing_gpu_excludes_some(
    patterns: tuple[str, ...], cpu: bool, expected: list[str]
) -> None:
    listed = [
        scenario("serving"),
        scenario("oom-load", on_cpu=False),
        scenario("oom-images", on_cpu=False),
    ]

    assert [one.name for one in chosen(listed, patterns, cpu)] == expected


def test_what_could_not_end_in_time_is_cut_and_a_shorter_one_still_runs() -> None:
    queue = Queue([scenario("long", seconds=100), scenario("short", seconds=10)], deadline=50)

    taken = queue.take(begins=20)

    assert taken is not None
    assert taken.name == "short"
    assert [one.name for one in queue.cut] == ["long"]
    assert queue.take(begins=30) is None


def test_the_names_of_the_scenarios_differ() -> None:
    names = [one.name for one in ALL]

    assert len(set(names)) == len(names)


def test_every_scenario_is_documented() -> None:
    shown = set(re.findall(r"`([a-z0-9*-]+)`", DOCUMENT.read_text()))

    assert [one.name for one in ALL if one.name not in shown and "fit-" not in one.name] == []


def test_a_part_gets_less_time_than_the_longest_call() -> None:
    assert [step.name for one in ALL for step in one.steps if step.limit > 320] == []


def test_the_table_lists_failures_and_their_number() -> None:
    good, bad = Findings(), Findings()
    good.check("it is there", True)
    good.note(kv_tokens=160_720, stages={"loading": 1.0})
    good.row("64 at once", tokens_per_second=2657.0)
    bad.equal("class", "EngineDied", "GpuBusy")
    lines = table(
        [
            result(("serving", "boot"), (0,), 61.23, good),
            result(("gpu-busy", "end"), (0, 1), 9, bad),
        ]
    ).splitlines()

    assert lines[1] == "PASS    0         61.2  serving/boot  kv_tokens=160720"
    assert lines[2] == "          64 at once: tokens_per_second=2657.0"
    assert lines[3] == "FAIL    0,1        9.0  gpu-busy/end"
    assert lines[4].strip() == "! class: 'EngineDied' instead of 'GpuBusy'"
    assert lines[5] == "1 PASS, 1 FAIL, 0 ERROR, 0 CUT"
