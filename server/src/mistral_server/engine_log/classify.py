"""Classify an engine failure by its log: class, phase, evidence and advice.

Pure. The same code reads lines in the pod and whole files on the command line. The first root cause
wins: it is followed by up to 4,000 lines of errors of other processes and open requests. The
default model runner prints no specific message for an out-of-memory failure of the GPU, so the
phase comes from the functions in the traceback. Records of harmless levels are ignored, because
they quote errors. Errors that the engine survived are ignored too.
"""

import re
from dataclasses import dataclass, field

from mistral_server.contract import FailureClass, Phase
from mistral_server.contract.setting_names import MEMORY_LIMIT, SHARED_MEMORY
from mistral_server.engine_log.log_record import EVIDENCE_CHARACTERS, HARMLESS, RECORD

_LONGEST_LINE = 20_000
"""Characters of a line that are read. The rest shows no cause: dumped tensors, whole requests."""

_SURVIVED_LINES = 2
"""Lines of statistics after which an error was survived. They are logged every ten seconds; a dead
engine logs at most one more."""

_FRAME = re.compile(r'\s*File "[^"]+", line \d+, in (\w+)')
_TRACEBACK = re.compile(r"\s*Traceback \(most recent call last\)")


@dataclass(frozen=True, slots=True)
class Classification:
    """Why an engine failed."""

    failure: FailureClass
    phase: Phase
    """What the engine was doing."""
    evidence: str
    """The line that shows the cause."""
    suggestions: dict[str, int] = field(default_factory=dict)
    """Values that the engine suggests, by the name of the setting."""

    @property
    def advice(self) -> str:
        """The advice for users, or an empty string."""
        return ADVICE.get(self.failure, "")


@dataclass(frozen=True, slots=True)
class _Rule:
    failure: FailureClass
    pattern: re.Pattern[str]


def _rule(failure: FailureClass, *texts: str) -> _Rule:
    return _Rule(failure, re.compile("|".join(texts)))


_OUT_OF_GPU_MEMORY = re.compile(
    r"OutOfMemoryError: (?:CUDA|HIP) out of memory"
    r"|CUDA out of memory occurred when"
    r"|Failed to load model - not enough GPU memory"
    r"|CUBLAS_STATUS_ALLOC_FAILED"
    r"|Cuda failure 2 'out of memory'"
    r"|CUDA out of memory\. Tried to allocate"
)
_WHILE_LOADING = re.compile(r"Failed to load model")
_NO_CONTEXT = re.compile(r"CUDA error: out of memory|cudaErrorMemoryAllocation")

_RULES = (
    _rule(
        FailureClass.KV_CACHE_TOO_SMALL,
        r"larger than the available KV cache memory",
        r"larger than the maximum number of tokens that can be stored in KV cache",
    ),
    _rule(
        FailureClass.KV_CACHE_NONE,
        r"No available memory for the cache blocks",
        r"Cannot auto-fit max_model_len",
    ),
    _rule(FailureClass.GPU_BUSY, r"Free memory on device.*is less than desired GPU memory"),
    _rule(
        FailureClass.SHM_EXHAUSTED,
        r"Insufficient space in /dev/shm",
        r"shared memory segment /dev/shm",
        r"No space left on device.*(?:/dev/shm|psm_|shared.?memory)",
        r"(?:/dev/shm|shared.?memory|psm_).*No space left on device",
        r"insufficient shared memory",
        r"[Bb]us error",
    ),
    _rule(
        FailureClass.HOST_OOM,
        r"[Oo]ut of memory: Killed process",
        r"cgroup out of memory",
        r"oom[-_]kill",
        r"DefaultCPUAllocator: can't allocate memory",
        r"Cannot allocate memory",
        r"^(?:\w+\.)*MemoryError\b",
    ),
    _rule(
        FailureClass.GPU_HARDWARE,
        r"uncorrectable ECC",
        r"CUDA error: (?:an illegal (?:memory access|instruction)|unspecified launch failure"
        r"|misaligned address|hardware stack error|unknown error|the launch timed out)",
        r"NVRM: Xid",
        r"GPU has fallen off the bus",
    ),
    _rule(
        FailureClass.GPU_UNSUPPORTED,
        r"libcuda\.so\.1: cannot open shared object",
        r"No CUDA GPUs are available|Found no NVIDIA driver",
        r"NVIDIA driver on your system is too old|CUDA driver version is insufficient",
        r"no kernel image is available for execution",
    ),
    _rule(
        FailureClass.STALLED,
        r"RPC call to \w+ timed out",
        r"watchdog got stuck",
        r"Watchdog caught collective operation timeout",
    ),
    _rule(
        FailureClass.INCOMPATIBLE_VERSIONS,
        r"force_tool_names",
        r"get_lark_from_jinja",
        r"undefined symbol:.*(?:torch|c10)",
    ),
    _rule(
        FailureClass.NOT_WRITABLE,
        r"PermissionError: \[Errno 13\]",
        r"Errno 30\] Read-only file system",
        r"getpwuid\(\): uid not found",
    ),
    _rule(
        FailureClass.MODEL_UNAVAILABLE,
        r"(?:RepositoryNotFound|GatedRepo|RevisionNotFound|LocalEntryNotFound|EntryNotFound)Error",
        r"does not appear to have (?:a file|files) named",
        r"Cannot find any model weights",
        r"not the path to a directory containing",
        r"No such file or directory: .*(?:params\.json|tekken\.json|config\.json|safetensors)",
        r"Repo id must ",
    ),
    _rule(FailureClass.MODEL_DAMAGED, r"SafetensorError: Error while deserializing"),
    _rule(
        FailureClass.INVALID_CONFIGURATION,
        r"^\S.*: error: (?:argument|unrecognized|the following arguments|ambiguous)",
        r"validation errors? for \w*Config\b",
        r"must be divisible by tensor parallel size",
        r"only supported on GPUs with compute capability",
    ),
)
_ENGINE_DIED = re.compile(
    r"EngineDeadError"
    r"|died unexpectedly"
    r"|Engine core initialization failed"
    r"|WorkerProc initialization failed"
    r"|MQLLMEngine is already dead"
)
_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception)(?::|$)")
_START_FAILED = re.compile(r"EngineCore failed to start")
_SERVING = re.compile(r"Application startup complete|Uvicorn running on")
_LOADED = re.compile(r"Model loading took|[CG]PU KV cache size:")
_STATISTICS = re.compile(r"Avg prompt throughput")

_PHASES: tuple[tuple[Phase, frozenset[str]], ...] = (
    (
        Phase.WARM_UP,
        frozenset(
            {"compile_or_warm_up_model", "capture_model", "warmup_kernels", "kernel_warmup"}
            | {"_dummy_sampler_run", "warmup_model", "graph_capture"}
        ),
    ),
    (
        Phase.KV_CACHE,
        frozenset(
            {"initialize_kv_cache", "initialize_from_config", "_allocate_kv_cache"}
            | {"initialize_kv_cache_tensors", "allocate_kv_cache"}
        ),
    ),
    (Phase.PROFILING, frozenset({"determine_available_memory", "profile_run", "_dummy_run"})),
    (
        Phase.IMAGES,
        frozenset({"execute_mm_encoder", "_execute_mm_encoder", "embed_multimodal"}),
    ),
    (
        Phase.WEIGHTS,
        frozenset({"load_model", "create_weights", "load_weights", "initialize_model"}),
    ),
    (Phase.SERVING, frozenset({"execute_model", "sample_tokens", "run_busy_loop"})),
    (Phase.START, frozenset({"init_device", "init_worker_distributed_environment"})),
)
"""Functions of vLLM by phase; the first match counts.

The executor's `initialize_from_config` also calls the warm-up, which is therefore first.
"""

_START_FUNCTIONS = dict(_PHASES)[Phase.START]

_CLASS_OF_PHASE = {
    Phase.START: FailureClass.GPU_BUSY,
    Phase.WEIGHTS: FailureClass.CUDA_OOM_LOAD,
    Phase.SERVING: FailureClass.CUDA_OOM_RUNTIME,
    Phase.IMAGES: FailureClass.CUDA_OOM_RUNTIME,
}
"""Class of an out-of-memory failure by phase; the default is the warm-up."""

_PHASE_OF = {
    FailureClass.KV_CACHE_TOO_SMALL: Phase.KV_CACHE,
    FailureClass.KV_CACHE_NONE: Phase.KV_CACHE,
    FailureClass.GPU_BUSY: Phase.START,
}
"""Classes that occur in one phase only, even if the log does not show it."""

EXPLAINED = frozenset(
    {rule.failure for rule in _RULES}
    | set(_CLASS_OF_PHASE.values())
    | {FailureClass.CUDA_OOM_WARMUP}
)
"""Classes that a log can show."""

_LENGTHS = (
    re.compile(r"estimated maximum model length is (\d+)"),
    re.compile(r"stored in KV cache \((\d+)\)"),
)

ADVICE: dict[FailureClass, str] = {
    FailureClass.KV_CACHE_TOO_SMALL: (
        "Set engine.context_length to what fits, or leave it unset for the most that fits. A fixed"
        " engine.kv_cache_memory_bytes can be raised instead."
    ),
    FailureClass.KV_CACHE_NONE: (
        "The weights leave no memory for the KV cache: raise engine.gpu_memory_utilization or"
        " engine.tensor_parallel_size, or set model.quantization."
    ),
    FailureClass.GPU_BUSY: (
        "Another process holds the GPU's memory: free it, or lower engine.gpu_memory_utilization."
    ),
    FailureClass.CUDA_OOM_LOAD: (
        "The weights do not fit: raise engine.tensor_parallel_size, or set model.quantization."
    ),
    FailureClass.CUDA_OOM_WARMUP: (
        "Lower engine.gpu_memory_utilization, engine.max_sequences, engine.max_batched_tokens or"
        " engine.images_per_prompt."
    ),
    FailureClass.CUDA_OOM_RUNTIME: (
        "Lower engine.gpu_memory_utilization or engine.max_batched_tokens; with images,"
        " engine.images_per_prompt."
    ),
    FailureClass.HOST_OOM: (
        f"Raise {MEMORY_LIMIT}, or lower engine.kv_offload_bytes where that is set."
    ),
    FailureClass.SHM_EXHAUSTED: f"Raise {SHARED_MEMORY}.",
    FailureClass.GPU_HARDWARE: (
        "Check the GPU and the driver of the node, and move the pod to another node."
    ),
    FailureClass.GPU_UNSUPPORTED: (
        "Check with nvidia-smi that the node has a GPU and a driver that are new enough for the"
        " image, and that the device plugin and the runtime class give pods the GPU."
    ),
    FailureClass.MODEL_UNAVAILABLE: "Check the repository or the volume of the model.",
    FailureClass.MODEL_DAMAGED: (
        "A file of the model is damaged or incomplete: replace it, or delete the cache so that the"
        " model is fetched again."
    ),
    FailureClass.INVALID_CONFIGURATION: (
        "Change the setting that the evidence names. A GPU without bfloat16 needs another"
        " model.dtype."
    ),
    FailureClass.NOT_WRITABLE: "The server writes to /tmp and /home only: keep their volumes.",
}
"""Advice for each class, in one sentence."""


UNEXPLAINED = frozenset({FailureClass.ENGINE_DIED, FailureClass.START_FAILED})
"""Classes without a cause in the log."""


class Classifier:
    """Classifies the log of one engine. Memory is bounded: the functions of one traceback."""

    def __init__(self) -> None:
        self._functions: set[str] = set()
        self._cause: Classification | None = None
        self._died = ""
        self._failed = ""
        self._exception = ""
        self._serving = False
        self._loaded = False
        self._statistics = 0

    def read(self, line: str) -> None:
        """Read one line."""
        record = RECORD.match(line.rstrip("\r\n")[:_LONGEST_LINE])
        if record is None:
            return
        text = record["text"].rstrip("\r")
        if record["level"] in HARMLESS or text.startswith("INFO: "):
            self._progress(text)
            return
        if frame := _FRAME.match(text):
            self._functions.add(frame[1])
        elif _TRACEBACK.match(text):
            self._functions.clear()
        else:
            self._match(text)

    def classification(self) -> Classification | None:
        """Return why the engine failed, or None if its log shows no failure."""
        if self._cause is not None:
            return self._cause
        if not (self._died or self._failed):
            return None
        unexplained = self._failed and self._exception
        failure = FailureClass.START_FAILED if unexplained else FailureClass.ENGINE_DIED
        phase = Phase.SERVING if self._serving else Phase.START
        return Classification(failure, phase, self._exception or self._died or self._failed)

    def _progress(self, text: str) -> None:
        self._serving = self._serving or bool(_SERVING.search(text))
        self._loaded = self._loaded or bool(_LOADED.search(text))
        self._failed = text if _START_FAILED.search(text) else self._failed
        if _STATISTICS.search(text):
            self._statistics += 1
            if self._statistics >= _SURVIVED_LINES:
                self._cause, self._died, self._failed, self._exception = None, "", "", ""

    def _match(self, text: str) -> None:
        if self._cause is None:
            self._cause = self._classify(text)
            if self._cause is not None:
                self._statistics = 0
        if _ENGINE_DIED.search(text):
            self._died = self._died or text[:EVIDENCE_CHARACTERS]
            self._statistics = 0
        elif _START_FAILED.search(text):
            self._failed = self._failed or text[:EVIDENCE_CHARACTERS]
        elif _EXCEPTION.match(text) and not self._died:  # later exceptions are consequences
            self._exception = self._exception or text[:EVIDENCE_CHARACTERS]

    def _classify(self, text: str) -> Classification | None:
        out_of_memory = _OUT_OF_GPU_MEMORY.search(text)
        if out_of_memory or _NO_CONTEXT.search(text):
            phase = self._phase()
            # Before the weights only a context is allocated.
            unknown_phase = phase is Phase.START and self._functions.isdisjoint(_START_FUNCTIONS)
            if out_of_memory and (unknown_phase or _WHILE_LOADING.search(text)):
                phase = Phase.WEIGHTS
            return self._classification(
                _CLASS_OF_PHASE.get(phase, FailureClass.CUDA_OOM_WARMUP), phase, text
            )
        for rule in _RULES:
            if rule.pattern.search(text):
                phase = _PHASE_OF.get(rule.failure) or self._phase()
                return self._classification(rule.failure, phase, text)
        return None

    def _classification(self, failure: FailureClass, phase: Phase, text: str) -> Classification:
        suggestions: dict[str, int] = {}
        for pattern in _LENGTHS if failure is FailureClass.KV_CACHE_TOO_SMALL else ():
            if match := pattern.search(text):
                suggestions["engine.context_length"] = int(match[1])
        return Classification(failure, phase, text.strip()[:EVIDENCE_CHARACTERS], suggestions)

    def _phase(self) -> Phase:
        """Return what the engine was doing: from the traceback, otherwise from earlier lines."""
        for phase, functions in _PHASES:
            if not functions.isdisjoint(self._functions):
                return phase
        if self._serving:
            return Phase.SERVING
        return Phase.WARM_UP if self._loaded else Phase.START
