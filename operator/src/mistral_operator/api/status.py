"""`status`: what the operator reports. Conditions say if the endpoint works and, if not, why."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import Field

from mistral_operator.api.autoscaling import AutoscalingStatus
from mistral_operator.api.base import ApiModel
from mistral_operator.api.oom_status import Oom

MAX_MESSAGE = 1024
"""Longest message of a condition; what is quoted from elsewhere is cut to fit."""


class ConditionType(StrEnum):
    """The conditions of a resource."""

    READY = "Ready"
    """Every replica that was asked for answers chats, in the configuration that was asked for; or
    the endpoint sleeps, and a request wakes it."""
    AVAILABLE = "Available"
    """At least one replica answers chats."""
    PROGRESSING = "Progressing"
    """Something is on its way: children, a rollout, a start."""
    MODEL_FITS = "ModelFits"
    """The model and a context of useful length fit the memory of the GPUs."""
    OUT_OF_MEMORY = "OutOfMemory"
    """Memory of some kind ran out, and that is not over yet."""
    DEGRADED = "Degraded"
    """Something is wrong that waiting will not mend."""
    SCALING_LIMITED = "ScalingLimited"
    """Something keeps an endpoint with autoscaling from the replicas that its load asks for."""


class Reason(StrEnum):
    """Why a condition is as it is; docs/status.md says what to do about each."""

    READY = "Ready"
    SUSPENDED = "Suspended"
    ASLEEP = "Asleep"
    SCALED_TO_ZERO = "ScaledToZero"
    INVALID_RESOURCE = "InvalidResource"
    NAME_TAKEN = "NameTaken"
    APPLY_FAILED = "ApplyFailed"
    CONFIG_MAP_MISSING = "ConfigMapMissing"
    CLAIM_MISSING = "ClaimMissing"
    POD_REJECTED = "PodRejected"
    NO_FITTING_NODE = "NoFittingNode"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    CONFIG_MISSING = "ConfigMissing"
    FETCHING = "FetchingModel"
    FETCH_FAILED = "FetchFailed"
    SERVER_FAILED = "ServerFailed"
    CRASH_LOOP = "CrashLoop"
    STARTING = "Starting"
    NOT_READY = "NotReady"
    ROLLING_OUT = "RollingOut"
    CREATING = "Creating"
    AVAILABLE = "Available"
    UNAVAILABLE = "Unavailable"
    COMPLETE = "Complete"
    BLOCKED = "Blocked"
    FITS = "Fits"
    DOES_NOT_FIT = "DoesNotFit"
    GPU_MEMORY_UNKNOWN = "GpuMemoryUnknown"
    WEIGHTS_UNKNOWN = "WeightsUnknown"
    NOT_APPLICABLE = "NotApplicable"
    HEALTHY = "Healthy"
    MEMORY_SUFFICES = "MemorySuffices"
    REMEDIED = "Remedied"
    SCALE_UP_FROZEN = "ScaleUpFrozen"
    TOO_FEW_GPUS = "TooFewGpus"
    AT_MAXIMUM = "AtMaximum"
    NO_SIGNALS = "NoSignals"
    REPLICAS_CONTESTED = "ReplicasContested"
    KEDA_MISSING = "KedaMissing"
    ACTIVATOR_MISSING = "ActivatorMissing"
    WITHIN_LIMITS = "WithinLimits"


@dataclass(frozen=True, slots=True)
class Problem:
    """What keeps the operator from doing what a resource asks for, as its author reads it."""

    reason: Reason
    message: str


class Condition(ApiModel):
    """One aspect of the resource, as other controllers and `kubectl wait` read it."""

    type: str = Field(max_length=316)
    """Which aspect."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: str = Field(max_length=1024)
    """Why, in one word of docs/status.md."""
    message: str = Field(default="", max_length=32_768)
    """Why, in sentences, with what to do about it."""
    observed_generation: int | None = Field(default=None, ge=0)
    """Generation of the spec that this was said of."""
    last_transition_time: str = Field(json_schema_extra={"format": "date-time"})
    """When the status last changed."""


class Effective(ApiModel):
    """The configuration as a running engine reports it, not as it was asked for."""

    vllm_version: str | None = None
    """Version of vLLM."""
    mistral_common_version: str | None = None
    """Version of mistral-common."""
    tensor_parallel_size: int | None = None
    """Ranks that share one copy of the model."""
    context_length: int | None = None
    """Tokens of prompt and answer together."""
    kv_cache_tokens: int | None = None
    """Tokens that the KV cache of one replica holds."""


class ImageEngine(ApiModel):
    """The engine inside a server image."""

    image: str
    """The server image."""
    vllm_version: str
    """Version of vLLM, as a ready replica last reported it."""


class Status(ApiModel):
    """What the operator reports."""

    observed_generation: int | None = None
    """Generation of the spec that this status describes."""
    conditions: list[Condition] = Field(
        default=[],
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """Ready, Available, Progressing, ModelFits, OutOfMemory and Degraded; ScalingLimited with
    autoscaling."""
    desired_replicas: int = 0
    """Pods that the endpoint should have: `spec.replicas`, what the operator's own autoscaling
    decided, or none while it is suspended."""
    replicas: int = 0
    """Pods of the endpoint that exist."""
    ready_replicas: int = 0
    """Pods that answer chats."""
    updated_replicas: int = 0
    """Pods of the current configuration."""
    selector: str | None = None
    """Label selector of the pods, for the scale subresource."""
    url: str | None = None
    """Base URL for OpenAI clients inside the cluster."""
    served_model: str | None = None
    """Name that clients write in `model`."""
    effective: Effective | None = None
    """The configuration as a running engine reports it."""
    engine: ImageEngine | None = None
    """The engine in the server image, kept while no replica is ready. The condition ModelFits uses
    the memory figures of its version. Absent until a replica of the current image was ready."""
    oom: Oom | None = None
    """Lacks of memory, and what was done about them; absent while there was none."""
    autoscaling: AutoscalingStatus | None = None
    """What the operator's own autoscaling decided last."""
