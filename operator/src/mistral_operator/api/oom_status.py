"""`status.oom`: what is known of lacks of memory, and what was done about them."""

from typing import Literal

from pydantic import Field

from mistral_operator.api.base import ApiModel

MAX_EVENTS = 10
"""Events that a status keeps; the totals know of all."""


class OomTotal(ApiModel):
    """How often a class was seen."""

    failure: str = Field(alias="class", max_length=64)
    """The class, as in docs/status.md."""
    count: int = Field(ge=1)
    """How often, since the resource exists."""


class OomEvent(ApiModel):
    """One lack of memory."""

    failure: str = Field(alias="class", max_length=64)
    """The class, as in docs/status.md."""
    pod: str = Field(max_length=253)
    """Pod that it happened to."""
    phase: str = Field(default="", max_length=64)
    """What the server was doing."""
    evidence: str = Field(default="", max_length=1024)
    """The line that shows the cause."""
    time: str = Field(default="", max_length=32)
    """When the container ended."""


class Overrides(ApiModel):
    """Settings that stand in for those of the spec."""

    context_length: int | None = None
    """Instead of spec.engine.contextLength."""
    gpu_memory_utilization: float | None = None
    """Instead of spec.engine.gpuMemoryUtilization."""
    max_sequences: int | None = None
    """Instead of spec.engine.maxSequences."""
    max_batched_tokens: int | None = None
    """Instead of spec.engine.maxBatchedTokens."""
    images_per_prompt: int | None = None
    """Instead of spec.images.perPrompt."""
    shared_memory: str | None = None
    """Instead of spec.sharedMemory."""
    memory: str | None = None
    """Instead of spec.pod.resources.limits.memory."""


class Change(ApiModel):
    """One setting, changed or to be changed."""

    setting: str = Field(max_length=128)
    """The field of the resource."""
    before: str = Field(max_length=32)
    """Its value."""
    after: str = Field(max_length=32)
    """What it becomes."""
    reason: str = Field(max_length=512)
    """Why."""


class Step(Change):
    """One change that was tried."""

    failure: str = Field(alias="class", max_length=64)
    """The class that it is against."""
    time: str = Field(max_length=32)
    """When it was made."""
    outcome: Literal["Trying", "Helped", "Kept", "Reverted"] = "Trying"
    """`Helped`: every replica was ready for spec.oom.quietSeconds. `Kept`: that lack of memory did
    not come back, another one did. `Reverted`: it did not help."""


class Oom(ApiModel):
    """What is known of lacks of memory, and what was done about them."""

    totals: list[OomTotal] = Field(
        default=[],
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["class"],
        },
    )
    """How often each class was seen."""
    events: list[OomEvent] = Field(default=[], max_length=MAX_EVENTS)
    """The last lacks of memory, the newest last."""
    active: str | None = None
    """Class of what keeps the endpoint from working, or did until not long ago."""
    recommendation: Change | None = None
    """What would help next, under policy Recommend."""
    overrides: Overrides | None = None
    """Settings that stand in for those of the spec, under policy Apply."""
    steps: list[Step] = Field(default=[])
    """What was tried since the spec was last edited."""
    exhausted: bool = False
    """Nothing is left to try within the limits of spec.oom."""
    stopped: bool = False
    """No replica runs, since none can start: edit the spec, or suspend and resume it."""
    streak: int = 0
    """Ends of the active class in a row."""
    configuration: str | None = None
    """Digest of the spec that this was said of; what was tried is forgotten with it."""
    tried: list[str] = Field(default=[])
    """Digests of the settings that were tried, so that none is tried twice."""
    counted: list[str] = Field(default=[])
    """Ends that are counted and still visible in a pod, so that none is counted twice."""
