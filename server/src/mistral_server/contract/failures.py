"""Failure classes of a server, and the exit code of each."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from mistral_server.contract.stages import ReportedName


class FailureClass(StrEnum):
    """Why a server process failed. The names are API: they appear in status, metrics and alerts."""

    KV_CACHE_TOO_SMALL = "KVCacheTooSmall"
    """The KV cache is too small for one request of the context length."""
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
    """The shared memory is too small for the communication of the ranks."""
    GPU_HARDWARE = "GpuHardware"
    """The GPU or its driver reported a fault."""
    GPU_UNSUPPORTED = "GpuUnsupported"
    """The GPU or its driver is missing, or too old for the image."""
    NOT_WRITABLE = "NotWritable"
    """The engine tried to write to a read-only path."""
    ENGINE_DIED = "EngineDied"
    """A process of the engine exited and its log gives no cause, as when it is killed."""
    START_FAILED = "StartFailed"
    """The engine exited before it answered its first chat."""
    START_TIMEOUT = "StartTimeout"
    """The engine was running but did not answer a chat within `startup_seconds`."""
    STALLED = "Stalled"
    """The engine had requests and made no progress for too long."""
    INCOMPATIBLE_VERSIONS = "IncompatibleVersions"
    """vLLM and mistral-common do not work together for this model."""
    INVALID_CONFIGURATION = "InvalidConfiguration"
    """The settings cannot be parsed or contain a value that is not allowed."""
    MODEL_UNAVAILABLE = "ModelUnavailable"
    """The model's files are not where the settings say, or could not be fetched."""
    MODEL_DAMAGED = "ModelDamaged"
    """The model's files cannot be read, as when a weight file was cut."""


ReportedFailure = Annotated[FailureClass | ReportedName, Field(union_mode="left_to_right")]
"""A class, or the name of a class of another server version."""

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
"""Classes of out-of-memory failures."""

KV_PRESSURE = "KVPressure"
"""The KV cache is full and requests are evicted from it. Not a failure: the engine keeps running,
and it appears in signals, metrics and conditions only."""

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
    FailureClass.GPU_UNSUPPORTED: 91,
    FailureClass.MODEL_DAMAGED: 92,
}
"""Exit code of each class: distinct, non-zero, below the 128 that a shell adds for signals.

vLLM itself exits 0 when its engine dies, which Kubernetes shows as Completed.
"""

CLASS_OF_EXIT_CODE: dict[int, FailureClass] = {code: one for one, code in EXIT_CODES.items()}
"""The class that each exit code stands for, where a report does not have a known one."""
