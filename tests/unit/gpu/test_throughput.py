"""Throughput with and without the engine's workarounds: what is sent, and what is recorded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mistral_dev.gpu import load, profile
from mistral_dev.gpu.findings import Findings
from mistral_dev.gpu.rig import Rig
from mistral_dev.gpu.scenario import ScenarioContext
from mistral_dev.gpu.scenarios import throughput
from mistral_server.engine.argv import engine_arguments

PACKAGES = "/x/site-packages"
LOOP = f"MainThread;run ({PACKAGES}/vllm/main.py:1);run (/x/asyncio/runners.py:118)"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Return a machine with one H200."""
    return Rig("cuda", (0,), 143_771, "python3", ("/packages",), "/model", tmp_path)


def test_the_two_servers_differ_by_the_workarounds_alone(rig: Rig) -> None:
    stock, patched = (rig.settings(plan).engine for plan in throughput.SCENARIOS[0].plans(rig))

    assert (stock.workarounds, patched.workarounds) == ("Disabled", "Auto")
    assert stock.model_copy(update={"workarounds": "Auto"}) == patched


def test_both_fit_into_the_memory_with_cuda_graphs(rig: Rig) -> None:
    arguments = engine_arguments(rig.settings(throughput.SCENARIOS[0].plans(rig)[0]))

    assert "--gpu-memory-utilization=0.48" in arguments
    assert "--enforce-eager" not in arguments


@dataclass
class FakeServer:
    """A server of which only the name is used."""

    name: str
    ready_seconds: float = 1.0
    process: Any = None


@dataclass
class FakeLoad:
    """Replaces a load: returns times at each engine's speed, and records the requests."""

    speeds: Mapping[str, float]
    requested: list[tuple[str, int, str]] = field(default_factory=list)

    def run(self, one: load.Load, seed: int, headers: Mapping[str, str]) -> load.Times:
        """Answer a load."""
        self.requested.append((one.model, one.requests, "without" if headers else "with"))
        return load.Times([0.1], [0.01], tokens=100, wall=100 / self.speeds[one.model])


@pytest.fixture
def context(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> ScenarioContext:
    """Return a room with two servers whose load is made up."""
    servers: list[Any] = [FakeServer("stock"), FakeServer("patched")]
    monkeypatch.setattr(ScenarioContext, "alive", lambda self: self.server)
    monkeypatch.setattr(
        throughput, "routes_to", lambda _server: {"without": {"token": "t"}, "with": {}}
    )
    monkeypatch.setattr(
        throughput,
        "load_on",
        lambda server, _scale, at_once, requests: load.Load(
            "", server.name, at_once, requests, 1, 1
        ),
    )
    return ScenarioContext(rig, (0,), servers=servers)


@pytest.mark.parametrize(("patched", "failed"), [(2600.0, False), (900.0, True)])
def test_the_gain_is_checked_with_64_streams(
    context: ScenarioContext, monkeypatch: pytest.MonkeyPatch, patched: float, failed: bool
) -> None:
    fake = FakeLoad({"stock": 450.0, "patched": patched})
    monkeypatch.setattr(load, "run_load", fake.run)

    throughput.throughput(64, context)

    assert bool(context.findings.failed) is failed
    assert sorted(context.findings.rows) == [
        "patched, with",
        "patched, without",
        "stock, with",
        "stock, without",
    ]
    assert context.findings.rows["patched, with"]["tokens_per_second"] == patched
    assert [one for one in fake.requested if one[0] == "stock"] == [
        ("stock", 64, way) for way in ("without", "with")
    ]
    assert [way for name, _, way in fake.requested if name == "patched"] == [
        *("without",),  # in advance
        *("without", "with", "with", "without"),
    ]
    assert [name for name, _, _ in fake.requested] == [
        *("stock", "stock", "patched", "patched", "patched"),
        *("patched", "patched"),
    ]


def test_no_two_rounds_have_the_same_prompts(
    context: ScenarioContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = []

    def run(_one: load.Load, seed: int, _headers: Mapping[str, str]) -> load.Times:
        seeds.append(seed)
        return load.Times([0.1], [0.01], tokens=100, wall=1)

    monkeypatch.setattr(load, "run_load", run)
    throughput.throughput(64, context)

    # Each server has its own cache, so both may receive the same prompts.
    assert len(set(seeds)) == 5


def test_api_servers_are_compared_through_the_gate(
    context: ScenarioContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeLoad({"stock": 3000.0, "patched": 4500.0})  # the positions of one and of two
    monkeypatch.setattr(load, "run_load", fake.run)

    throughput.api_servers(256, context)

    assert context.findings.figures["gain"] == 1.5
    assert {way for _, _, way in fake.requested} == {"with"}


def test_the_engine_as_it_comes_meets_256_streams_once_and_apart(
    context: ScenarioContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeLoad({"stock": 450.0, "patched": 5000.0})
    monkeypatch.setattr(load, "run_load", fake.run)
    parts = {step.name: step for step in throughput.SCENARIOS[0].steps}

    parts["at-256"].part(context)

    assert {name for name, _, _ in fake.requested} == {"patched"}
    fake.requested.clear()
    parts["stock-at-256"].part(context)
    assert fake.requested == [("stock", 256, "with")]
    assert parts["stock-at-256"].least


def test_every_round_is_noted_as_it_comes(
    context: ScenarioContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeLoad({"stock": 450.0, "patched": 2600.0})
    noted: list[int] = []

    def run(one: load.Load, seed: int, headers: Mapping[str, str]) -> load.Times:
        noted.append(sum(row["requests"] for row in context.findings.rows.values()))
        return fake.run(one, seed, headers)

    monkeypatch.setattr(load, "run_load", run)
    throughput.throughput(64, context)

    assert noted == [0, 1, 2, 2, 3, 4, 5]  # the third is the one in advance
    assert context.findings.rows["patched, with"]["requests"] == 2


def test_without_py_spy_nothing_is_recorded(
    context: ScenarioContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    throughput.api_profile(context)

    assert context.findings == Findings(figures={"skipped": "no py-spy here"})


def test_py_spy_is_located_beside_the_packages(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "py-spy"
    program.parent.mkdir()
    program.touch()

    assert profile.recorder(["/nowhere", str(tmp_path)]) == str(program)


@pytest.mark.parametrize(
    ("stack", "group"),
    [
        (LOOP, "idle, or in uvloop"),
        (f"{LOOP};call ({PACKAGES}/mistral_server/gate/stream.py:9)", "gate"),
        (f"{LOOP};run ({PACKAGES}/uvicorn/x.py:1);f ({PACKAGES}/json/x.py:2)", "pydantic, json"),
        (f"{LOOP};f ({PACKAGES}/vllm/parser/x.py:1);f ({PACKAGES}/regex/x.py:2)", "vllm parser"),
        (f"{LOOP};f ({PACKAGES}/vllm/v1/engine/output_processor.py:1)", "vllm detokenizer, output"),
        (f"{LOOP};f ({PACKAGES}/vllm/v1/engine/async_llm.py:1)", "vllm else"),
        (f"{LOOP};f ({PACKAGES}/vllm/entrypoints/openai/x.py:1)", "vllm serving"),
        (f"{LOOP};f ({PACKAGES}/mistral_common/tokens/x.py:1)", "tokenization"),
        (f"{LOOP};send ({PACKAGES}/uvicorn/protocols/http/x.py:1)", "uvicorn, http"),
        (f"{LOOP};call (/x/asyncio/events.py:80);f (/srv/x.py:1)", "event loop"),
        ("MainThread;f (/srv/x.py:1)", "other"),
    ],
)
def test_a_sample_belongs_to_the_innermost_listed_package(stack: str, group: str) -> None:
    assert profile.shares(f"thread (1): {stack} 7\n") == {group: 1.0}


def test_shares_are_of_the_main_thread_alone() -> None:
    lines = [
        f"thread (1): {LOOP} 30",
        f"thread (1): {LOOP};call ({PACKAGES}/mistral_server/gate/stream.py:9) 10",
        "thread (2): Thread-1;wait (/x/threading.py:1) 40",
    ]

    assert profile.shares("\n".join(lines)) == {"idle, or in uvloop": 0.75, "gate": 0.25}
    assert profile.shares("") == {}
