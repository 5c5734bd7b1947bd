"""The parts of the scenarios that need no server."""

import dataclasses
import json
import zlib
from pathlib import Path

import pytest

from mistral_dev.gpu import load
from mistral_dev.gpu.log import Log
from mistral_dev.gpu.model import CONTROL_TOKENS, tokenizer
from mistral_dev.gpu.rig import Rig
from mistral_dev.gpu.scenarios.answers import picture
from mistral_dev.gpu.scenarios.fitting import SCENARIOS as FITTING
from mistral_dev.gpu.scenarios.ladder import OperatorRemedies
from mistral_dev.gpu.scenarios.loops import loops_in
from mistral_dev.gpu.scenarios.ranks import SCENARIOS as RANKS
from mistral_dev.gpu.scenarios.speedups import SCENARIOS as SPEEDUPS
from mistral_dev.gpu.scenarios.tools import called, calls_of
from mistral_dev.gpu.server import ApiResponse
from mistral_server.contract import FailureClass, TerminationReport
from mistral_server.engine.argv import engine_arguments, engine_environment

LOGS = Path(__file__).parents[2] / "data" / "oom-logs"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Return a machine with two GPUs."""
    return Rig("cuda", (0, 1), 81_559, "python3", ("/packages",), "/model", tmp_path)


def test_a_server_gets_what_the_operator_renders(rig: Rig) -> None:
    (plan,) = RANKS[0].plans(rig)
    arguments = engine_arguments(rig.settings(plan))

    assert arguments[0] == "/model"
    assert {
        "--load-format=dummy",
        "--tensor-parallel-size=2",
        "--max-model-len=auto",
        "--max-num-batched-tokens=8192",
        "--gpu-memory-utilization=0.9",
        "--middleware=mistral_server.gate.Gate",
    } <= set(arguments)
    assert "--enforce-eager" not in arguments


def test_the_engine_keeps_the_variables_that_guard_shared_gpus(rig: Rig) -> None:
    (plan,) = RANKS[0].plans(rig)
    environment = engine_environment(rig.settings(plan), rig.environment(plan, (0, 1)), "token")

    assert environment["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert environment["NCCL_NVLS_ENABLE"] == "0"
    assert environment["TORCH_SYMM_MEM_DISABLE_MULTICAST"] == "1"
    assert environment["NVSHMEM_DISABLE_NVLS"] == "1"
    assert environment["PYTHONPATH"].startswith("/packages")


def test_a_server_with_a_copy_of_its_cache_gets_a_larger_shared_memory(rig: Rig) -> None:
    (speculating,), (offloading,) = (one.plans(rig) for one in SPEEDUPS)

    assert "--kv-offloading-size=8.0" in engine_arguments(rig.settings(offloading))
    assert offloading.spec.with_offload(offloading.spec.shared_memory) == "10Gi"
    assert any("ngram" in one for one in engine_arguments(rig.settings(speculating)))


@pytest.mark.parametrize("scenario", FITTING, ids=lambda one: one.name)
def test_each_layout_of_the_memory_differs_from_the_usual_one(rig: Rig, scenario: object) -> None:
    (plan,) = scenario.plans(rig)  # type: ignore[attr-defined]
    usual = rig.settings(rig.plan("usual"))
    settings = rig.settings(plan)

    assert (settings.engine, settings.model) != (usual.engine, usual.model)


@pytest.mark.parametrize(
    ("tokens", "looping"),
    [
        (list(range(1000)), False),
        ([7] * 300, True),
        ([7] * 255, False),
        ([*range(100), *list(range(90)) * 4, *range(50)], True),
        ([*range(100), *list(range(90)) * 3, *range(50)], False),
    ],
)
def test_a_loop_repeats_itself_often_and_long_enough(tokens: list[int], looping: bool) -> None:
    assert loops_in(tokens, repeats=4, least=256) is looping


def test_calls_of_a_stream_are_put_together_by_their_index() -> None:
    parts = [(0, "get_", "{"), (0, "weather", ""), (1, "\nget_weather", "{}"), (0, None, "}")]
    events = [
        {"index": index, "function": {"name": name, "arguments": arguments}}
        for index, name, arguments in parts
    ]
    lines = [json.dumps({"choices": [{"delta": {"tool_calls": [one]}}]}) for one in events]
    response = ApiResponse(200, "".join(f"data: {line}\n\n" for line in lines), 0.0, {})

    assert calls_of(response) == [("get_weather", "{}"), ("\nget_weather", "{}")]
    assert called(response, "get_weather")


def test_calls_of_a_whole_answer_have_no_index() -> None:
    call = {"function": {"name": "\nget_weather", "arguments": "{"}}
    answer = {"choices": [{"message": {"tool_calls": [call, call]}}]}
    response = ApiResponse(200, json.dumps(answer), 0.0, {})

    assert calls_of(response) == [("\nget_weather", "{")] * 2
    assert not called(response, "get_weather")


def test_a_picture_is_a_png_of_its_size() -> None:
    data = picture(28, 1)
    rows = zlib.decompress(data[data.index(b"IDAT") + 4 : data.index(b"IEND") - 8])

    assert data.startswith(b"\x89PNG")
    assert len(rows) == 28 * (1 + 3 * 28)


def test_the_full_size_tokenizer_has_the_control_tokens_of_version_11() -> None:
    source = {"config": {"version": "v3", "default_num_special_tokens": 1000}, "vocab": []}
    made = tokenizer(source)
    names = {one["rank"]: one["token_str"] for one in made["special_tokens"]}

    assert made["config"]["version"] == "v11"
    assert (names[2], names[9], names[10], names[32]) == ("</s>", "[TOOL_CALLS]", "[IMG]", "[ARGS]")
    assert len(names) < CONTROL_TOKENS
    assert json.dumps(made)


def test_prompts_of_a_load_differ_between_rounds_and_not_between_runs() -> None:
    batch = load.Load("http://x", "m", at_once=2, requests=3, words=10, tokens=4)

    assert load.prompts(batch, 1) == load.prompts(batch, 1)
    assert set(load.prompts(batch, 1)).isdisjoint(load.prompts(batch, 2))


def test_rounds_of_a_load_add_up() -> None:
    times = load.Times(firsts=[0.1], gaps=[0.01, 0.02], tokens=100, wall=2.0)
    times.add(load.Times(firsts=[0.3], gaps=[0.03], tokens=100, wall=2.0, failed=1))

    assert times.figures() == {
        "tokens_per_second": 50.0,
        "first_p50": 300.0,
        "first_p99": 300.0,
        "gap_p50": 20.0,
        "gap_p99": 30.0,
        "gap_mean": 20.0,
        "requests": 2,
        "failed": 1,
    }


def test_a_log_knows_when_the_cause_showed() -> None:
    log = Log(LOGS / "KVCacheTooSmall.tp1.log")
    log.close()

    assert log.cause_at is not None
    assert log.classification is not None
    assert log.classification.failure is FailureClass.KV_CACHE_TOO_SMALL
    assert log.number(r"Model loading took ([\d.]+) GiB") == 44.76


def test_the_ladder_is_the_operators() -> None:
    remedies = OperatorRemedies({"contextLength": 131_072, "gpuMemoryUtilization": 0.7})
    report = TerminationReport(
        failure=FailureClass.KV_CACHE_TOO_SMALL,
        stage="profiling",
        message="",
        suggest={"engine.context_length": 57_344},
    )

    first = remedies(report)
    assert first is not None
    assert (first["contextLength"], first["gpuMemoryUtilization"]) == (57_344, 0.7)
    assert remedies(report.model_copy(update={"failure": FailureClass.CUDA_OOM_LOAD})) is None


def test_plans_are_values(rig: Rig) -> None:
    plan = rig.plan("one")

    assert dataclasses.replace(plan, name="two").spec == plan.spec
