"""Names of the ways in which a server ends, and the exit code of each."""

from enum import StrEnum


class FailureClass(StrEnum):
    """Why a server process ended. The names are API: they appear in status, metrics and alerts."""

    KV_CACHE_TOO_SMALL = "KVCacheTooSmall"
    """The KV cache does not hold one request of the context length."""
    KV_CACHE_NONE = "KVCacheNone"
    """Weights and activations leave no memory for a KV cache."""
    GPU_BUSY = "GpuBusy"
    """Another process holds the GPU's memory."""
    CUDA_OOM_LOAD = "CudaOomLoad"
    """The GPU's memory ran out while the weights were loaded."""
    CUDA_OOM_WARMUP = "CudaOomWarmup"
    """The GPU's memory ran out between weights and ready: profiling, KV cache, kernels, graphs."""
    CUDA_OOM_RUNTIME = "CudaOomRuntime"
    """The GPU's memory ran out while requests were computed."""
    HOST_OOM = "HostOom"
    """The memory of the pod or the node ran out."""
    SHM_EXHAUSTED = "ShmExhausted"
    """The shared memory is too small for the ranks to talk to each other."""
    GPU_HARDWARE = "GpuHardware"
    """The GPU or its driver reported a fault."""
    NOT_WRITABLE = "NotWritable"
    """The engine wanted to write where it may not."""
    ENGINE_DIED = "EngineDied"
    """A process of the engine ended and its log gives no cause, as when it is killed."""
    START_FAILED = "StartFailed"
    """The engine ended before it answered its first chat."""
    START_TIMEOUT = "StartTimeout"
    """The engine was alive but did not answer a chat within the start-up budget."""
    STALLED = "Stalled"
    """The engine had requests and computed nothing for too long."""
    INCOMPATIBLE_VERSIONS = "IncompatibleVersions"
    """vLLM and mistral-common do not work together for this model."""
    INVALID_CONFIGURATION = "InvalidConfiguration"
    """The settings cannot be parsed or name something that the server refuses."""
    MODEL_UNAVAILABLE = "ModelUnavailable"
    """The model's files are not where the settings say, or could not be fetched."""


MEMORY_FAILURES = frozenset(
    {
        FailureClass.KV_CACHE_TOO_SMALL,
        FailureClass.KV_CACHE_NONE,
        FailureClass.GPU_BUSY,
        FailureClass.CUDA_OOM_LOAD,
        FailureClass.CUDA_OOM_WARMUP,
        FailureClass.CUDA_OOM_RUNTIME,
        FailureClass.HOST_OOM,
        FailureClass.SHM_EXHAUSTED,
    }
)
"""Classes that are a lack of memory of some kind."""

KV_PRESSURE = "KVPressure"
"""Beside these classes: the KV cache is full and requests lose their place in it. No failure, and
nothing ends; it appears in signals, metrics and conditions only."""

EXIT_CODES: dict[FailureClass, int] = {
    FailureClass.MODEL_UNAVAILABLE: 66,  # EX_NOINPUT
    FailureClass.INCOMPATIBLE_VERSIONS: 69,  # EX_UNAVAILABLE
    FailureClass.ENGINE_DIED: 70,  # EX_SOFTWARE
    FailureClass.START_FAILED: 71,
    FailureClass.START_TIMEOUT: 75,  # EX_TEMPFAIL
    FailureClass.STALLED: 76,
    FailureClass.INVALID_CONFIGURATION: 78,  # EX_CONFIG
    FailureClass.KV_CACHE_TOO_SMALL: 81,
    FailureClass.KV_CACHE_NONE: 82,
    FailureClass.GPU_BUSY: 83,
    FailureClass.CUDA_OOM_LOAD: 84,
    FailureClass.CUDA_OOM_WARMUP: 85,
    FailureClass.CUDA_OOM_RUNTIME: 86,
    FailureClass.HOST_OOM: 87,
    FailureClass.SHM_EXHAUSTED: 88,
    FailureClass.GPU_HARDWARE: 89,
    FailureClass.NOT_WRITABLE: 90,
}
"""Exit code of each class: distinct, non-zero, below the 128 that a shell adds for signals.

vLLM itself exits 0 when its engine dies, which Kubernetes shows as Completed.
"""
