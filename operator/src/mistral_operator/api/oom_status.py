"""`status.oom`: the memory failures of an endpoint, and how the operator reacted."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mistral_operator.api.base import MAX_INTEGER, ApiModel, Count, Memory, Time
from mistral_operator.api.engine import MAX_CONTEXT, MIN_CONTEXT
from mistral_server.contract import FailureClass

MAX_STEPS = 16
"""Changes that `spec.oom.maxSteps` allows."""

MAX_COUNTED = 4096
"""Failures that are remembered as counted: two of each container of a thousand replicas."""

MAX_EVENTS = 10
"""Events that a status keeps; the totals count all of them."""

_CLASSES = [one.value for one in FailureClass]


def _that_is_a_class(name: str) -> str:
    return FailureClass(name).value


ClassName = Annotated[
    str, AfterValidator(_that_is_a_class), Field(json_schema_extra={"enum": _CLASSES})
]
"""Name of a failure class."""


Digest = Annotated[str, Field(max_length=16)]
"""A hash of settings, or the identity of a failure."""


class OomTotal(ApiModel):
    """Number of memory failures of one class."""

    failure: ClassName = Field(alias="class")
    """Class of the failure, as in docs/status.md."""
    count: int = Field(ge=1, le=MAX_INTEGER)
    """Number of failures since the resource was created."""


class OomEvent(ApiModel):
    """One memory failure."""

    failure: ClassName = Field(alias="class")
    """Class of the failure, as in docs/status.md."""
    pod: str = Field(max_length=253)
    """Pod that failed."""
    phase: str = Field(default="", max_length=64)
    """What the server was doing."""
    evidence: str = Field(default="", max_length=1024)
    """Log line that shows the cause."""
    time: Time = ""
    """When the container exited."""


class Overrides(ApiModel):
    """Settings that override those of the spec."""

    context_length: int | None = Field(default=None, ge=MIN_CONTEXT, le=MAX_CONTEXT)
    """Overrides spec.engine.contextLength."""
    gpu_memory_utilization: float | None = Field(default=None, ge=0.1, le=0.99)
    """Overrides spec.engine.gpuMemoryUtilization."""
    max_sequences: int | None = Field(default=None, ge=1, le=4096)
    """Overrides spec.engine.maxSequences."""
    max_batched_tokens: int | None = Field(default=None, ge=256, le=131_072)
    """Overrides spec.engine.maxBatchedTokens."""
    images_per_prompt: int | None = Field(default=None, ge=0, le=64)
    """Overrides spec.images.perPrompt."""
    shared_memory: Memory | None = None
    """Overrides spec.sharedMemory."""
    memory: Memory | None = None
    """Overrides spec.pod.resources.limits.memory."""


class Change(ApiModel):
    """A change of one setting, made or recommended."""

    setting: str = Field(max_length=128)
    """Field of the resource."""
    before: str = Field(max_length=32)
    """Value before the change."""
    after: str = Field(max_length=32)
    """Value after the change."""
    reason: str = Field(max_length=512)
    """Why the change helps."""


class Step(Change):
    """One change that was tried."""

    failure: ClassName = Field(alias="class")
    """Class of the failure that the change is meant to fix."""
    time: Time = ""
    """When the change was made."""
    outcome: Literal["Trying", "Helped", "Kept", "Reverted"] = "Trying"
    """Result of the change. `Trying`: not known yet. `Helped`: every replica stayed ready for
    spec.oom.quietSeconds. `Kept`: this failure did not recur, but another one did. `Reverted`: it
    did not help."""


class Oom(ApiModel):
    """Memory failures of the endpoint, and how the operator reacted."""

    totals: list[OomTotal] = Field(
        default=[],
        max_length=len(_CLASSES),
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["class"],
        },
    )
    """Number of memory failures by class."""
    events: list[OomEvent] = Field(default=[], max_length=MAX_EVENTS)
    """Most recent memory failures, the newest last."""
    active: ClassName | None = None
    """Class of the current failure: it keeps the endpoint from working, or did so recently."""
    recommendation: Change | None = None
    """Next recommended change, under policy Recommend."""
    overrides: Overrides | None = None
    """Settings that override those of the spec, under policy Apply."""
    steps: list[Step] = Field(default=[], max_length=MAX_STEPS)
    """Changes that were tried since the spec was last edited."""
    exhausted: bool = False
    """Whether all changes within the limits of spec.oom have been tried."""
    stopped: bool = False
    """Whether the endpoint was scaled to zero because no replica can start. Edit the spec, or
    suspend and resume it, to start again."""
    streak: Count = 0
    """Consecutive failures of the active class. Failures that a restart cannot fix are counted only
    while no replica is ready."""
    configuration: Digest | None = None
    """Hash of the spec that these records belong to; they are reset when it changes."""
    tried: list[Digest] = Field(default=[], max_length=MAX_STEPS)
    """Hashes of the settings that were tried, so that none is tried twice."""
    counted: list[Digest] = Field(default=[], max_length=MAX_COUNTED)
    """Counted failures that a pod showed when the last one was counted, so that none is counted
    twice."""
