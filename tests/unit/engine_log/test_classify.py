"""Why an engine ended, from its log: recorded ones, and every cause that vLLM is known to print."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mistral_server.cli.main import cli
from mistral_server.contract import EXIT_CODES, FailureClass, Stage, TerminationReport
from mistral_server.contract.setting_names import with_flags
from mistral_server.engine_log.classify import ADVICE, Classifier, Verdict
from mistral_server.engine_log.log_record import EVIDENCE_CHARACTERS
from mistral_server.engine_log.stages import Stages
from mistral_server.supervisor.cgroup import oom_kills

RECORDED = sorted((Path(__file__).parents[2] / "data" / "oom-logs").glob("*.log"))

CORE = "(EngineCore pid=12) ERROR 11-24 12:35:48 [core.py:1330] "
WORKER = "(Worker_TP1 pid=14) ERROR 11-24 12:35:48 [multiproc_executor.py:900] "
API = "(APIServer pid=1) "
OOM = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 350.00 MiB. GPU 0 has a total"
    " capacity of 23.68 GiB of which 212.81 MiB is free."
)
GENERIC = [
    f"{API}Traceback (most recent call last):",
    (
        f"{API}RuntimeError: Engine core initialization failed. See root cause above."
        " Failed core proc(s): {}"
    ),
]


def verdict(*lines: str) -> Verdict | None:
    """Return what a log of these lines shows."""
    classifier = Classifier()
    for line in lines:
        classifier.read(f"{line}\r\n")
    return classifier.verdict()


def in_functions(*functions: str, prefix: str = CORE) -> list[str]:
    """Return a traceback through some functions."""
    frames = [f'{prefix}  File "/opt/vllm/x.py", line 5, in {name}' for name in functions]
    return [f"{prefix}Traceback (most recent call last):", *frames]


@pytest.mark.parametrize("log", RECORDED, ids=lambda log: log.stem)
def test_a_recorded_log_gets_the_class_in_its_name(log: Path) -> None:
    classifier = Classifier()
    with log.open(errors="replace") as lines:
        for line in lines:
            classifier.read(line)
    found = classifier.verdict()

    assert (found.failure.value if found else "Healthy") == log.name.partition(".")[0]


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


def test_a_recorded_log_tells_what_the_engine_was_doing() -> None:
    found = {log.stem: verdict(*log.read_text(errors="replace").splitlines()) for log in RECORDED}

    assert {name: one.phase for name, one in found.items() if one} == PHASES


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
def test_a_recorded_log_tells_what_its_server_reported(name: str) -> None:
    (log,) = (one for one in RECORDED if one.stem == name)
    text = log.read_text()
    report = TerminationReport.model_validate_json(text.rpartition(" Ended: ")[2])
    engine = [line for line in text.splitlines() if not line.startswith("mistral-server ")]
    found = verdict(*engine)

    assert "version 0.32.0" in text
    assert found is not None
    assert (found.failure, EXIT_CODES[found.failure]) == (report.failure, EXITS[name])
    assert found.values == renamed_suggestions(report)
    if report.phase:  # an engine that was killed is reported without one
        assert (found.phase, found.evidence) == (report.phase, report.evidence)


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
    assert verdict(*planned.splitlines()) == verdict(*text.splitlines())
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
    found = verdict(*log.read_text(errors="replace").splitlines())

    assert found is not None
    assert found.values == {"engine.context_length": length}
    assert found.phase == "kv-cache"


CAUSES: dict[str, tuple[str, FailureClass]] = {
    "too small, vLLM 0.9": (
        (
            "ValueError: To serve at least one request with the models's max seq len (8192), (1 GiB"
            " KV cache is needed, which is larger than the available KV cache memory (0.5 GiB)."
        ),
        FailureClass.KV_CACHE_TOO_SMALL,
    ),
    "too small, V0": (
        (
            "ValueError: The model's max seq len (8192) is larger than the maximum number of tokens"
            " that can be stored in KV cache (4096). Try increasing `gpu_memory_utilization`"
        ),
        FailureClass.KV_CACHE_TOO_SMALL,
    ),
    "none": (
        "ValueError: No available memory for the cache blocks. Try increasing",
        FailureClass.KV_CACHE_NONE,
    ),
    "not even a token": (
        (
            "ValueError: Cannot auto-fit max_model_len: not enough GPU memory available to serve"
            " even a single token"
        ),
        FailureClass.KV_CACHE_NONE,
    ),
    "busy, without a device": (
        (
            "ValueError: Free memory on device (7.1/79.2 GiB) on startup is less than desired GPU"
            " memory utilization (0.92, 72.84 GiB)."
        ),
        FailureClass.GPU_BUSY,
    ),
    "shared memory of vLLM": (
        "RuntimeError: Insufficient space in /dev/shm for a queue: 240 MiB required, 64 MiB free",
        FailureClass.SHM_EXHAUSTED,
    ),
    "shared memory of NCCL": (
        "ncclSystemError: Error while creating shared memory segment /dev/shm/nccl-x (size 9)",
        FailureClass.SHM_EXHAUSTED,
    ),
    "host, kernel's line": (
        "Memory cgroup out of memory: Killed process 99 (VLLM::EngineCor) total-vm:1kB",
        FailureClass.HOST_OOM,
    ),
    "host, torch": (
        "RuntimeError: [alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory",
        FailureClass.HOST_OOM,
    ),
    "host, fork": ("OSError: [Errno 12] Cannot allocate memory", FailureClass.HOST_OOM),
    "hardware, ECC": (
        "RuntimeError: CUDA error: uncorrectable ECC error encountered",
        FailureClass.GPU_HARDWARE,
    ),
    "hardware, access": (
        "torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
        FailureClass.GPU_HARDWARE,
    ),
    "hang": (
        "TimeoutError: RPC call to execute_model timed out.",
        FailureClass.STALLED,
    ),
    "hang of NCCL": (
        "ProcessGroupNCCL's watchdog got stuck for 600 seconds",
        FailureClass.STALLED,
    ),
    "mistral-common": (
        (
            "TypeError: GrammarFactory.get_lark_from_jinja() missing 1 required argument:"
            " 'force_tool_names'"
        ),
        FailureClass.INCOMPATIBLE_VERSIONS,
    ),
    "read-only": (
        "PermissionError: [Errno 13] Permission denied: '/.config'",
        FailureClass.NOT_WRITABLE,
    ),
    "no user": ("KeyError: 'getpwuid(): uid not found: 1000'", FailureClass.NOT_WRITABLE),
    "no file": (
        "FileNotFoundError: [Errno 2] No such file or directory: '/models/m/params.json'",
        FailureClass.MODEL_UNAVAILABLE,
    ),
    "gated": (
        "huggingface_hub.errors.GatedRepoError: 401 Client Error.",
        FailureClass.MODEL_UNAVAILABLE,
    ),
    "settings": (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
        FailureClass.INVALID_CONFIGURATION,
    ),
}


@pytest.mark.parametrize("prefix", [CORE, WORKER, "", "ERROR 05-01 12:00:00 [core.py:400] "])
@pytest.mark.parametrize("case", CAUSES)
def test_a_cause_gets_its_class_in_the_log_of_every_version(case: str, prefix: str) -> None:
    text, failure = CAUSES[case]
    found = verdict(f"{CORE}EngineCore failed to start.", f"{prefix}{text}", *GENERIC)

    assert found is not None
    assert found.failure is failure
    assert found.evidence == text
    assert (failure in ADVICE) == bool(found.advice)


@pytest.mark.parametrize(
    ("functions", "failure", "phase"),
    [
        (("load_model", "create_weights"), FailureClass.CUDA_OOM_LOAD, "weights"),
        (("init_worker", "load_model"), FailureClass.CUDA_OOM_LOAD, "weights"),
        (("__init__",), FailureClass.CUDA_OOM_LOAD, "weights"),
        (
            ("determine_available_memory", "profile_run", "execute_model"),
            FailureClass.CUDA_OOM_WARMUP,
            "profiling",
        ),
        (("initialize_kv_cache", "zeros"), FailureClass.CUDA_OOM_WARMUP, "kv-cache"),
        (
            ("compile_or_warm_up_model", "capture_model", "_dummy_run"),
            FailureClass.CUDA_OOM_WARMUP,
            "warm-up",
        ),
        (("run_busy_loop", "execute_model"), FailureClass.CUDA_OOM_RUNTIME, "serving"),
        (
            ("execute_model", "execute_mm_encoder", "embed_multimodal"),
            FailureClass.CUDA_OOM_RUNTIME,
            "images",
        ),
        (("init_device",), FailureClass.GPU_BUSY, "start"),
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        OOM,
        (
            "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB (GPU 0; 44.56"
            " GiB total capacity; 42.00 GiB already allocated)"
        ),
    ],
)
def test_a_lack_of_gpu_memory_has_the_phase_of_its_traceback(
    functions: tuple[str, ...], failure: FailureClass, phase: str, text: str
) -> None:
    found = verdict(*in_functions(*functions), f"{CORE}{text}", *GENERIC)

    assert found is not None
    assert (found.failure, found.phase) == (failure, phase)


def test_no_room_for_a_context_is_a_busy_gpu() -> None:
    found = verdict(
        *in_functions("init_device"),
        f"{CORE}torch.AcceleratorError: CUDA error: out of memory",
        *GENERIC,
    )

    assert found is not None
    assert found.failure is FailureClass.GPU_BUSY


def test_without_a_traceback_what_the_engine_had_said_tells_the_phase() -> None:
    loaded = "(EngineCore pid=12) INFO 11-24 12:34:24 [m.py:305] Model loading took 44.76 GiB"
    serving = f"{API}INFO:     Application startup complete."

    for said, failure in (
        ([], FailureClass.CUDA_OOM_LOAD),
        ([loaded], FailureClass.CUDA_OOM_WARMUP),
        ([loaded, serving], FailureClass.CUDA_OOM_RUNTIME),
    ):
        found = verdict(*said, f"{CORE}{OOM}")
        assert found is not None
        assert found.failure is failure


def test_the_first_cause_wins_over_thousands_of_lines_that_follow() -> None:
    aftermath = [
        (
            f"{API}ERROR 11-24 12:39:03 [serving.py:495] vllm.v1.engine.exceptions.EngineDeadError:"
            " EngineCore encountered an issue. See stack trace (above) for the root cause."
        )
    ] * 4000
    found = verdict(
        f"{API}INFO:     Application startup complete.",
        *in_functions("run_busy_loop", "execute_model"),
        f"{CORE}{OOM}",
        *aftermath,
        f"{CORE}PermissionError: [Errno 13] Permission denied",
    )

    assert found is not None
    assert found.failure is FailureClass.CUDA_OOM_RUNTIME


@pytest.mark.parametrize(
    ("lines", "failure", "evidence"),
    [
        (GENERIC, FailureClass.ENGINE_DIED, "Engine core initialization failed"),
        (
            [f"{API}Worker proc VllmWorker-1 died unexpectedly (exit code: -9), shutting down."],
            FailureClass.ENGINE_DIED,
            "died unexpectedly",
        ),
        (
            [f"{CORE}EngineCore failed to start.", f"{CORE}ValueError: a new mistake", *GENERIC],
            FailureClass.START_FAILED,
            "a new mistake",
        ),
        (
            [
                f"{CORE}Worker proc VllmWorker-0 died unexpectedly (exit code: None), shutting",
                f"{CORE}EngineCore encountered a fatal error.",
                f"{CORE}RuntimeError: cancelled",
            ],
            FailureClass.ENGINE_DIED,
            "died unexpectedly",
        ),
        (
            [
                f"{CORE}EngineCore encountered a fatal error.",
                f"{CORE}KeyError: 7",
                f"{API}vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.",
            ],
            FailureClass.ENGINE_DIED,
            "KeyError: 7",
        ),
    ],
)
def test_an_end_without_a_known_cause_says_so(
    lines: list[str], failure: FailureClass, evidence: str
) -> None:
    found = verdict(*lines)

    assert found is not None
    assert found.failure is failure
    assert evidence in found.evidence


HEALTHY = (
    "WARNING 11-24 12:47:34 [u.py:1] errors like `OSError: [Errno 24] Too many open files`",
    (
        "INFO 11-24 12:47:34 [g.py:2] Free memory on device (78.66/79.18 GiB) on startup. Desired"
        " GPU memory utilization is (0.7, 55.43 GiB)."
    ),
    (
        "INFO 11-24 12:47:34 [shm_broadcast.py:109] No available shared memory broadcast block"
        " found in 60 seconds."
    ),
    "INFO:     127.0.0.1:1 - 'POST /v1/chat/completions HTTP/1.1' 200 OK",
    (
        "(APIServer pid=1) INFO 11-24 12:47:34 [logger.py:1] Received request: 'what does"
        " torch.OutOfMemoryError: CUDA out of memory mean?'"
    ),
    (
        "(APIServer pid=1) ERROR 11-24 12:47:34 [serving.py:1] ValueError: This model's maximum"
        " context length is 2048 tokens."
    ),
    "(APIServer pid=1) WARNING 11-24 12:47:34 [utils.py:626] force killing remaining processes",
    "",
    "just text",
)


def test_a_healthy_log_has_no_class() -> None:
    assert verdict(*HEALTHY, *in_functions("handler", prefix=API)) is None


def test_what_the_engine_survived_is_no_end() -> None:
    alive = f"{API}INFO 11-24 12:50:00 [loggers.py:1] Engine 000: Avg prompt throughput: 1.0"
    start = f"{API}INFO:     Application startup complete."

    assert verdict(start, f"{CORE}{OOM}", alive, alive, alive) is None
    assert verdict(start, alive, alive, f"{CORE}{OOM}", alive) is not None
    assert verdict(start, f"{CORE}{OOM}", alive, alive, f"{CORE}{OOM}") is not None


@given(st.lists(st.binary(max_size=400) | st.text(max_size=400).map(str.encode), max_size=30))
def test_no_line_breaks_it(lines: list[bytes]) -> None:
    classifier = Classifier()
    for line in lines:
        classifier.read(line.decode(errors="replace"))
    classifier.verdict()


def test_a_line_of_a_mebibyte_is_read_as_far_as_causes_stand() -> None:
    found = verdict(f"{CORE}{OOM}" + "x" * 2**20, "\x00" * 2**20, "(" * 2**20)

    assert found is not None
    assert len(found.evidence) == EVIDENCE_CHARACTERS


def test_the_command_prints_a_line_for_each_log(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.log", tmp_path / "good.log"
    bad.write_bytes(f"{CORE}{CAUSES['none'][0]}\r\n".encode() + b"\xff\xfe")
    good.write_text("\n".join(HEALTHY))
    result = CliRunner().invoke(cli, ["classify", str(bad), str(good), str(tmp_path / "nowhere")])
    lines = [json.loads(line) for line in result.stdout.splitlines()]

    assert result.exit_code == 1
    assert "nowhere" in result.stderr
    assert [(one["file"], one["class"], one["phase"]) for one in lines] == [
        (str(bad), "KVCacheNone", "kv-cache"),
        (str(good), None, None),
    ]
    assert lines[0]["suggest"] == {"advice": with_flags(ADVICE[FailureClass.KV_CACHE_NONE])}

    result = CliRunner().invoke(cli, ["classify"], input=bad.read_bytes())
    assert json.loads(result.stdout)["class"] == "KVCacheNone"


@pytest.mark.parametrize(
    ("file", "text", "kills"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\n", 2),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", 5),
        ("memory.events", "low 0\n", 0),
        ("memory.events", "oom_kill x\n", 0),
        ("elsewhere", "oom_kill 5\n", 0),
    ],
)
def test_the_kernels_kills_are_counted(tmp_path: Path, file: str, text: str, kills: int) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)

    assert oom_kills(tmp_path) == kills
