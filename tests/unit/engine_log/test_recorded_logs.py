"""Logs that were recorded: why the engine exited, and which stages its start went through."""

import re
from pathlib import Path

import pytest

from engine_log_lines import classification
from mistral_server.contract import EXIT_CODES, Stage, TerminationReport
from mistral_server.engine_log.classify import Classifier
from mistral_server.engine_log.stages import Stages

RECORDED = sorted((Path(__file__).parents[2] / "data" / "oom-logs").glob("*.log"))


@pytest.mark.parametrize("log", RECORDED, ids=lambda log: log.stem)
def test_a_recorded_log_gets_the_class_in_its_name(log: Path) -> None:
    classifier = Classifier()
    with log.open(errors="replace") as lines:
        for line in lines:
            classifier.read(line)
    got = classifier.classification()

    assert (got.failure.value if got else "Healthy") == log.name.partition(".")[0]


PHASES = {
    "CudaOomLoad.runner-v1": "weights",
    "CudaOomLoad.runner-v2": "weights",
    "CudaOomLoad.runner-v2-032": "weights",
    "CudaOomRuntime.images": "images",
    "CudaOomRuntime.images-full": "images",
    "CudaOomRuntime.long-prompt": "serving",
    "CudaOomRuntime.prefill": "serving",
    "CudaOomWarmup.capture": "warm-up",
    "CudaOomWarmup.kernels": "warm-up",
    "CudaOomWarmup.profile-steps": "profiling",
    "CudaOomWarmup.profile-steps-032": "profiling",
    "CudaOomWarmup.profile-text": "profiling",
    "CudaOomWarmup.sampler-v1": "warm-up",
    "EngineDied.kill9": "serving",
    "EngineDied.kill9-032": "serving",
    "EngineDied.rank-killed": "serving",
    "GpuBusy.no-context": "start",
    "GpuBusy.no-context-032": "start",
    "GpuBusy.start": "start",
    "GpuBusy.start-032": "start",
    "KVCacheNone.auto": "kv-cache",
    "KVCacheNone.auto-032": "kv-cache",
    "KVCacheNone.tp1": "kv-cache",
    "KVCacheNone.tp1-032": "kv-cache",
    "KVCacheTooSmall.tp1": "kv-cache",
    "KVCacheTooSmall.tp1-032": "kv-cache",
}


def test_a_recorded_log_shows_the_phase() -> None:
    got = {
        log.stem: classification(*log.read_text(errors="replace").splitlines()) for log in RECORDED
    }

    assert {name: one.phase for name, one in got.items() if one} == PHASES


def renamed_suggestions(report: TerminationReport) -> dict[str, int]:
    """Return the values of a report that was recorded when it named the resource's field."""
    today = {"contextLength": "engine.context_length"}
    return {today[name]: value for name, value in report.suggest.items()}


EXITS = {
    "CudaOomLoad.runner-v2-032": 84,
    "CudaOomRuntime.images-full": 86,
    "CudaOomRuntime.long-prompt": 86,
    "CudaOomWarmup.capture": 85,
    "CudaOomWarmup.profile-steps-032": 85,
    "EngineDied.kill9-032": 70,
    "EngineDied.rank-killed": 70,
    "GpuBusy.no-context-032": 83,
    "GpuBusy.start-032": 83,
    "KVCacheNone.auto-032": 82,
    "KVCacheNone.tp1-032": 82,
    "KVCacheTooSmall.tp1-032": 81,
}
"""Exit codes of the servers of vLLM 0.32 whose logs were recorded on H200s."""


@pytest.mark.parametrize("name", EXITS)
def test_a_recorded_log_matches_the_report_of_its_server(name: str) -> None:
    (log,) = (one for one in RECORDED if one.stem == name)
    text = log.read_text()
    report = TerminationReport.model_validate_json(text.rpartition(" Ended: ")[2])
    engine = [line for line in text.splitlines() if not line.startswith("mistral-server ")]
    got = classification(*engine)

    assert "version 0.32.0" in text
    assert got is not None
    assert (got.failure, EXIT_CODES[got.failure]) == (report.failure, EXITS[name])
    assert got.suggestions == renamed_suggestions(report)
    if report.phase:  # an engine that was killed is reported without one
        assert (got.phase, got.evidence) == (report.phase, report.evidence)


PROFILED = re.compile(
    r"^(\(.*?\) INFO \S+ \S+) \[.*\] Available KV cache memory: \d.*$", re.MULTILINE
)
PLANNED = (
    r"\1 [startup_plan.py:154] Applying persisted startup plan (fingerprint 0123456789abcdef):"
    " kv_cache_memory_bytes=9395240960 (8.75 GiB), recorded free-memory baseline 78.15 GiB, current"
    " 78.15 GiB. Memory profiling will be skipped.\n"
    r"\1 [gpu_worker.py:670] Initial free memory 78.15 GiB, reserved 8.75 GiB memory for KV Cache"
    " as specified by kv_cache_memory_bytes config and skipped memory profiling. If OOM'ed, check"
    " the difference of initial free memory between the current run and the previous run."
)
"""What vLLM 0.32 prints in the place of `PROFILED` with `VLLM_ENABLE_STARTUP_PLAN=1`."""


@pytest.mark.parametrize("log", RECORDED, ids=lambda log: log.stem)
def test_a_start_from_a_saved_plan_is_read_like_one_that_profiles(log: Path) -> None:
    """VLLM applies no plan where nothing is left for the KV cache, so that line stays."""
    text = log.read_text(errors="replace")
    planned, replaced = PROFILED.subn(PLANNED, text)
    profiles = "KV cache size:" in text or "KVCacheTooSmall" in log.name

    assert (replaced > 0) is profiles
    assert classification(*planned.splitlines()) == classification(*text.splitlines())
    assert stages(planned) == stages(text)


def stages(log: str) -> list[Stage]:
    """Return the stages that a log goes through."""
    followed = Stages()
    seen = [followed.current]
    for line in log.splitlines():
        followed.read(line)
        if followed.current is not seen[-1]:
            seen.append(followed.current)
    return seen


@pytest.mark.parametrize(
    "log", ["Healthy.autofit", "Healthy.graphs", "CudaOomWarmup.kernels", "CudaOomWarmup.capture"]
)
def test_a_start_from_a_saved_plan_goes_through_every_stage(log: str) -> None:
    (recorded,) = (one for one in RECORDED if one.stem == log)

    assert stages(PROFILED.sub(PLANNED, recorded.read_text(errors="replace"))) == [
        Stage.STARTING,
        Stage.LOADING,
        Stage.PROFILING,
        Stage.WARMING_UP,
    ]


@pytest.mark.parametrize(
    ("name", "length"), [("KVCacheTooSmall.tp1", 57_344), ("KVCacheTooSmall.tp1-032", 53_072)]
)
def test_the_length_that_fits_is_read_from_the_log(name: str, length: int) -> None:
    (log,) = (one for one in RECORDED if one.stem == name)
    got = classification(*log.read_text(errors="replace").splitlines())

    assert got is not None
    assert got.suggestions == {"engine.context_length": length}
    assert got.phase == "kv-cache"
