"""`spec.oom`: how the operator reacts to out-of-memory failures."""

from typing import ClassVar, Literal

from pydantic import Field

from mistral_operator.api.base import ApiModel, Memory, MemoryShare, Rule
from mistral_operator.api.engine import MAX_CONTEXT, MIN_CONTEXT
from mistral_operator.api.oom_status import MAX_STEPS

DEFAULT_MIN_CONTEXT = 8192
"""No one wrote it, so it may be longer than the context of the resource."""


class OutOfMemory(ApiModel):
    """How the operator reacts to out-of-memory failures, and within which limits."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            # has() first: the API server evaluates the rule on the bare default {}.
            "!has(self.minGpuMemoryUtilization) || !has(self.maxGpuMemoryUtilization)"
            " || self.minGpuMemoryUtilization <= self.maxGpuMemoryUtilization",
            "spec.oom.minGpuMemoryUtilization is greater than spec.oom.maxGpuMemoryUtilization:"
            " make the minimum no larger than the maximum",
            lambda one: one.min_gpu_memory_utilization <= one.max_gpu_memory_utilization,
        ),
    )

    policy: Literal["Observe", "Recommend", "Apply"] = "Recommend"
    """`Observe` counts and explains memory failures. `Recommend` also names the setting to change.
    `Apply` makes the change, one at a time, keeps it if the endpoint then works and reverts it if
    not. The spec is never written: the changes are recorded in status.oom.overrides."""
    max_steps: int = Field(default=4, ge=1, le=MAX_STEPS)
    """Maximum number of changes that policy `Apply` tries. An edit of the spec resets the count."""
    stop_after: int = Field(default=3, ge=0, le=100)
    """Consecutive failed starts per replica after which the operator scales the endpoint to zero to
    free its GPUs. Only failures that a restart cannot fix are counted. 0: never."""
    quiet_seconds: int = Field(default=300, ge=10, le=86_400)
    """How long every replica must stay ready without a memory failure before a change is considered
    effective and the failure resolved, in seconds."""
    min_context_length: int = Field(default=DEFAULT_MIN_CONTEXT, ge=MIN_CONTEXT, le=MAX_CONTEXT)
    """Lower limit for `engine.contextLength` when policy `Apply` reduces it. A context that is set
    and not longer than this is never reduced."""
    min_images_per_prompt: int = Field(default=1, ge=0, le=64)
    """Lower limit for `images.perPrompt` when policy `Apply` reduces it."""
    min_sequences: int = Field(default=8, ge=1, le=4096)
    """Lower limit for `engine.maxSequences` when policy `Apply` reduces it."""
    min_batched_tokens: int = Field(default=2048, ge=256, le=131_072)
    """Lower limit for `engine.maxBatchedTokens` when policy `Apply` reduces it."""
    min_gpu_memory_utilization: MemoryShare = 0.80
    """Lower limit for `engine.gpuMemoryUtilization` when policy `Apply` reduces it."""
    max_gpu_memory_utilization: MemoryShare = 0.95
    """Upper limit for `engine.gpuMemoryUtilization` when policy `Apply` raises it."""
    max_shared_memory: Memory = "8Gi"
    """Upper limit for `sharedMemory` when policy `Apply` raises it, itself at most 1Pi."""
    max_memory: Memory | None = None
    """Upper limit for `pod.resources.limits.memory` when policy `Apply` raises it, itself at most
    1Pi. Unset: it is never raised."""
