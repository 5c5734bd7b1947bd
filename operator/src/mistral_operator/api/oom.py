"""`spec.oom`: what is done about a lack of memory."""

from typing import ClassVar, Literal

from pydantic import Field

from mistral_operator.api.base import ApiModel, Memory, Rule
from mistral_operator.api.engine import MAX_CONTEXT, MIN_CONTEXT


class OutOfMemory(ApiModel):
    """What is done about a lack of memory, and how far it may go."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            # has() first: the API server tries the rule on the default {} as it stands.
            "!has(self.minGpuMemoryUtilization) || !has(self.maxGpuMemoryUtilization)"
            " || self.minGpuMemoryUtilization <= self.maxGpuMemoryUtilization",
            "spec.oom.minGpuMemoryUtilization must not exceed"
            " spec.oom.maxGpuMemoryUtilization: swap or equal them",
            lambda one: one.min_gpu_memory_utilization <= one.max_gpu_memory_utilization,
        ),
    )

    policy: Literal["Observe", "Recommend", "Apply"] = "Recommend"
    """`Observe` counts and explains. `Recommend` also names the setting to change. `Apply` makes
    the change, one at a time, keeps it if the endpoint then works and takes it back if not. The
    spec is never written: what is changed stands in status.oom.overrides."""
    max_steps: int = Field(default=4, ge=1, le=16)
    """Changes that are tried before giving up. An edit of the spec starts anew."""
    stop_after: int = Field(default=3, ge=0, le=100)
    """Ends in a row, for each replica, after which an endpoint that cannot start stops holding
    GPUs. Counted are only causes that another try does not remove. 0: never stop."""
    quiet_seconds: int = Field(default=300, ge=10, le=86_400)
    """Seconds without a lack of memory, with every replica ready, after which a change counts as a
    help and a lack of memory as over."""
    min_context_length: int = Field(default=8192, ge=MIN_CONTEXT, le=MAX_CONTEXT)
    """Shortest context that may be set."""
    min_images_per_prompt: int = Field(default=1, ge=0, le=64)
    """Fewest images in a prompt that may be set."""
    min_sequences: int = Field(default=8, ge=1, le=4096)
    """Fewest requests at the same time that may be set."""
    min_batched_tokens: int = Field(default=2048, ge=256, le=131_072)
    """Fewest tokens in one step that may be set."""
    min_gpu_memory_utilization: float = Field(default=0.80, ge=0.1, le=0.99)
    """Smallest share of the GPUs' memory that may be set."""
    max_gpu_memory_utilization: float = Field(default=0.95, ge=0.1, le=0.99)
    """Largest share of the GPUs' memory that may be set."""
    max_shared_memory: Memory = "8Gi"
    """Largest /dev/shm that may be set."""
    max_memory: Memory | None = None
    """Largest memory limit that may be set. Unset: the limit is never raised."""
