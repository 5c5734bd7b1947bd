"""Why an engine exited, from its log: every cause that vLLM is known to print."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_log_lines import API, CORE, GENERIC, OOM, WORKER, classification, in_functions
from mistral_server.contract import FailureClass
from mistral_server.engine_log.classify import Classifier
from mistral_server.engine_log.log_record import EVIDENCE_CHARACTERS

_SELF_EXPLAINED = {FailureClass.STALLED, FailureClass.INCOMPATIBLE_VERSIONS}

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
    "hardware, no driver": (
        "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory",
        FailureClass.GPU_UNSUPPORTED,
    ),
    "hardware, no GPU": ("RuntimeError: No CUDA GPUs are available", FailureClass.GPU_UNSUPPORTED),
    "hardware, no GPU for torch": (
        "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA",
        FailureClass.GPU_UNSUPPORTED,
    ),
    "hardware, old driver": (
        "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).",
        FailureClass.GPU_UNSUPPORTED,
    ),
    "hardware, old driver for a library": (
        "RuntimeError: CUDA driver version is insufficient for CUDA runtime version",
        FailureClass.GPU_UNSUPPORTED,
    ),
    "hardware, old GPU": (
        "torch.AcceleratorError: CUDA error: no kernel image is available for execution",
        FailureClass.GPU_UNSUPPORTED,
    ),
    "a type that the GPU has not": (
        (
            "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least"
            " 8.0. Your Tesla V100-SXM2-16GB GPU has compute capability 7.0."
        ),
        FailureClass.INVALID_CONFIGURATION,
    ),
    "a file that was cut": (
        "safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata",
        FailureClass.MODEL_DAMAGED,
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
    got = classification(f"{CORE}EngineCore failed to start.", f"{prefix}{text}", *GENERIC)

    assert got is not None
    assert got.failure is failure
    assert got.evidence == text
    assert bool(got.advice) is (failure not in _SELF_EXPLAINED)


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
def test_an_out_of_memory_failure_of_the_gpu_has_the_phase_of_its_traceback(
    functions: tuple[str, ...], failure: FailureClass, phase: str, text: str
) -> None:
    got = classification(*in_functions(*functions), f"{CORE}{text}", *GENERIC)

    assert got is not None
    assert (got.failure, got.phase) == (failure, phase)


def test_no_room_for_a_context_is_a_busy_gpu() -> None:
    got = classification(
        *in_functions("init_device"),
        f"{CORE}torch.AcceleratorError: CUDA error: out of memory",
        *GENERIC,
    )

    assert got is not None
    assert got.failure is FailureClass.GPU_BUSY


def test_without_a_traceback_earlier_lines_determine_the_phase() -> None:
    loaded = "(EngineCore pid=12) INFO 11-24 12:34:24 [m.py:305] Model loading took 44.76 GiB"
    serving = f"{API}INFO:     Application startup complete."

    for earlier, failure in (
        ([], FailureClass.CUDA_OOM_LOAD),
        ([loaded], FailureClass.CUDA_OOM_WARMUP),
        ([loaded, serving], FailureClass.CUDA_OOM_RUNTIME),
    ):
        got = classification(*earlier, f"{CORE}{OOM}")
        assert got is not None
        assert got.failure is failure


def test_the_first_cause_wins_over_thousands_of_lines_that_follow() -> None:
    aftermath = [
        (
            f"{API}ERROR 11-24 12:39:03 [serving.py:495] vllm.v1.engine.exceptions.EngineDeadError:"
            " EngineCore encountered an issue. See stack trace (above) for the root cause."
        )
    ] * 4000
    got = classification(
        f"{API}INFO:     Application startup complete.",
        *in_functions("run_busy_loop", "execute_model"),
        f"{CORE}{OOM}",
        *aftermath,
        f"{CORE}PermissionError: [Errno 13] Permission denied",
    )

    assert got is not None
    assert got.failure is FailureClass.CUDA_OOM_RUNTIME


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
def test_an_exit_without_a_cause_is_classified_as_such(
    lines: list[str], failure: FailureClass, evidence: str
) -> None:
    got = classification(*lines)

    assert got is not None
    assert got.failure is failure
    assert evidence in got.evidence


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
    assert classification(*HEALTHY, *in_functions("handler", prefix=API)) is None


def test_what_the_engine_survived_is_no_end() -> None:
    alive = f"{API}INFO 11-24 12:50:00 [loggers.py:1] Engine 000: Avg prompt throughput: 1.0"
    start = f"{API}INFO:     Application startup complete."

    assert classification(start, f"{CORE}{OOM}", alive, alive, alive) is None
    assert classification(start, alive, alive, f"{CORE}{OOM}", alive) is not None
    assert classification(start, f"{CORE}{OOM}", alive, alive, f"{CORE}{OOM}") is not None


@given(st.lists(st.binary(max_size=400) | st.text(max_size=400).map(str.encode), max_size=30))
def test_no_line_breaks_it(lines: list[bytes]) -> None:
    classifier = Classifier()
    for line in lines:
        classifier.read(line.decode(errors="replace"))
    classifier.classification()


def test_a_line_of_a_mebibyte_is_read_as_far_as_causes_stand() -> None:
    got = classification(f"{CORE}{OOM}" + "x" * 2**20, "\x00" * 2**20, "(" * 2**20)

    assert got is not None
    assert len(got.evidence) == EVIDENCE_CHARACTERS
