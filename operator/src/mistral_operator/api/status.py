"""`status`: what the operator reports. Conditions say if the endpoint works and, if not, why."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from mistral_operator.api.autoscaling import AutoscalingStatus
from mistral_operator.api.base import ApiModel, Count, Time
from mistral_operator.api.oom_status import Oom

MAX_MESSAGE = 1024
"""Maximum length of a condition's message; longer quotations are truncated."""

MAX_CONDITIONS = 32
"""Conditions of a resource, with those of other controllers."""

MAX_VERSION = 64
MAX_REASON = 256
"""Of the reason that a server gives for one of its values."""

Version = Annotated[str, Field(max_length=MAX_VERSION)]
"""A version as an engine reports it."""


class ConditionType(StrEnum):
    """The conditions of a resource."""

    READY = "Ready"
    """Every desired replica answers chats in the desired configuration, or the endpoint is scaled
    to zero and starts on the next request."""
    AVAILABLE = "Available"
    """At least one replica answers chats."""
    PROGRESSING = "Progressing"
    """A change is in progress: child objects, a rollout, a start."""
    MODEL_FITS = "ModelFits"
    """The model and a context of useful length fit the memory of the GPUs."""
    OUT_OF_MEMORY = "OutOfMemory"
    """A memory failure occurred and is not resolved yet."""
    DEGRADED = "Degraded"
    """Something is wrong that will not resolve by itself."""
    SCALING_LIMITED = "ScalingLimited"
    """An endpoint with autoscaling cannot have the replicas that its load needs."""
    HOLDING = "Holding"
    """The activator is behind the Service in place of the last replica, which is replaced or gone.
    The endpoint has this condition only meanwhile."""
    IMAGES_PULLED = "ImagesPulled"
    """The nodes have pulled the images of an edit. An endpoint with `spec.rollout.prepull` has this
    condition from such an edit to the end of its rollout."""
    CACHE_BOUND = "CacheBound"
    """The claim of an endpoint with a cache has a volume."""
    ROUTER_READY = "RouterReady"
    """A pod of the router is ready, so the Service of an endpoint with a routing policy leads to
    it."""


class Reason(StrEnum):
    """Why a condition has its status; docs/status.md says how to resolve each."""

    READY = "Ready"
    SUSPENDED = "Suspended"
    ASLEEP = "Asleep"
    SCALED_TO_ZERO = "ScaledToZero"
    INVALID_RESOURCE = "InvalidResource"
    NAME_TAKEN = "NameTaken"
    APPLY_FAILED = "ApplyFailed"
    CONFIG_MAP_MISSING = "ConfigMapMissing"
    CLAIM_MISSING = "ClaimMissing"
    CLAIM_PENDING = "ClaimPending"
    CLAIM_DIFFERS = "ClaimDiffers"
    POD_REJECTED = "PodRejected"
    NO_FITTING_NODE = "NoFittingNode"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    CONFIG_MISSING = "ConfigMissing"
    POD_NOT_SET_UP = "PodNotSetUp"
    FETCHING = "FetchingModel"
    FETCH_FAILED = "FetchFailed"
    PREFETCHING = "Prefetching"
    SERVER_FAILED = "ServerFailed"
    CRASH_LOOP = "CrashLoop"
    STARTING = "Starting"
    NOT_READY = "NotReady"
    SCALING_UP = "ScalingUp"
    ROLLING_OUT = "RollingOut"
    CREATING = "Creating"
    AVAILABLE = "Available"
    UNAVAILABLE = "Unavailable"
    COMPLETE = "Complete"
    BLOCKED = "Blocked"
    PAUSED = "Paused"
    HOLDING = "Holding"
    PREPULLING = "Prepulling"
    PREPULLED = "Prepulled"
    PREPULL_INCOMPLETE = "PrepullIncomplete"
    FITS = "Fits"
    DOES_NOT_FIT = "DoesNotFit"
    GPUS_UNSUITABLE = "GpusUnsuitable"
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
    NO_PORT = "NoPort"
    WITHIN_LIMITS = "WithinLimits"
    BOUND = "Bound"
    ONE_NODE = "OneNode"
    CACHE_TOO_SMALL = "CacheTooSmall"
    ROUTER_UNAVAILABLE = "RouterUnavailable"
    NO_EFFECT = "NoEffect"


@dataclass(frozen=True, slots=True)
class Problem:
    """What keeps the operator from applying a resource, in a sentence for its author."""

    reason: Reason
    message: str


class Condition(ApiModel):
    """One aspect of the resource, for other controllers and `kubectl wait`."""

    type: str = Field(max_length=316)
    """Type of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Status of the condition."""
    reason: str = Field(max_length=256)
    """One-word reason; docs/status.md lists them."""
    message: str = Field(default="", max_length=4096)
    """Reason of the status in sentences, and how to resolve it."""
    observed_generation: Count | None = None
    """Generation of the spec that the condition was computed from."""
    last_transition_time: Time = Field(json_schema_extra={"format": "date-time"})
    """When the status last changed."""


class Effective(ApiModel):
    """Configuration that a running engine reports."""

    vllm_version: Version | None = None
    """Version of vLLM."""
    mistral_common_version: Version | None = None
    """Version of mistral-common."""
    tensor_parallel_size: Count | None = None
    """Number of ranks that share one copy of the model."""
    context_length: Count | None = None
    """Context length in tokens, prompt and answer together."""
    kv_cache_tokens: Count | None = None
    """Number of tokens that the KV cache of one replica holds."""


class CompiledCode(ApiModel):
    """What the start of a replica did with the compiled code that is kept on the claim."""

    use: Literal["Loaded", "Compiled", "NotKept"]
    """`Loaded`: the code was there. `Compiled`: it was not, and is now. `NotKept`: the claim could
    not be used for it."""
    reason: str | None = Field(default=None, max_length=MAX_REASON)
    """Why it is not kept."""


class ImageEngine(ApiModel):
    """Engine of a server image."""

    image: str = Field(max_length=1024)
    """Server image."""
    vllm_version: Version
    """Version of vLLM, as last reported by a ready replica."""


class FetchStatus(ApiModel):
    """Progress of a download of the model."""

    fetched_bytes: Count = 0
    """Bytes that are fetched."""
    total_bytes: Count | None = None
    """Size of the model's files in bytes. Unset while it is not known."""


class Status(ApiModel):
    """Status that the operator reports."""

    observed_generation: Count | None = None
    """Generation of the spec that this status was computed from."""
    last_update_time: Time | None = None
    """When the operator last changed this status."""
    conditions: list[Condition] = Field(
        default=[],
        max_length=MAX_CONDITIONS,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """Ready, Available, Progressing, ModelFits, OutOfMemory and Degraded; with autoscaling also
    ScalingLimited, with a cache CacheBound, with a routing policy RouterReady, while no replica is
    ready Holding, and while an edit is rolled out with `spec.rollout.prepull` ImagesPulled."""
    desired_replicas: Count = 0
    """Desired number of pods: `spec.replicas`, or the decision of the operator's own autoscaling,
    or 0 while suspended."""
    replicas: Count = 0
    """Number of pods that exist."""
    ready_replicas: Count = 0
    """Number of pods that answer chats."""
    updated_replicas: Count = 0
    """Number of pods with the current configuration."""
    selector: str | None = Field(default=None, max_length=253)
    """Label selector of the pods, for the scale subresource."""
    url: str | None = Field(default=None, max_length=253)
    """Base URL for OpenAI clients inside the cluster."""
    served_model: str | None = Field(default=None, max_length=200)
    """Model name that clients send in `model`."""
    effective: Effective | None = None
    """Configuration that a running engine reports."""
    compiled_code: CompiledCode | None = None
    """What the start of a ready replica did with the compiled code that `spec.cache.compiled`
    keeps. Unset while nothing is kept."""
    engine: ImageEngine | None = None
    """Engine of the server image, kept while no replica is ready. The condition ModelFits uses the
    memory figures of its version. Unset until a replica of the current image was ready."""
    fetch: FetchStatus | None = None
    """Progress of the pod that has fetched most of the model, also that of a prefetch. Unset while
    no pod fetches it."""
    oom: Oom | None = None
    """Memory failures of the endpoint, and how the operator reacted. Unset if there were none."""
    autoscaling: AutoscalingStatus | None = None
    """Last decision of the operator's own autoscaling."""
