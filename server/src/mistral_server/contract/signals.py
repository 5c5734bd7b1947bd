"""What a living server says of itself: the document behind `/signals`."""

from pydantic import Field

from mistral_server.contract.base import ServerDocument
from mistral_server.contract.stages import ReportedStage


class EffectiveConfiguration(ServerDocument):
    """The configuration as the engine reports it, not as it was asked for."""

    vllm_version: str | None = None
    """Version of vLLM."""
    mistral_common_version: str | None = None
    """Version of mistral-common."""
    tensor_parallel_size: int | None = None
    """Ranks, read from the engine's fingerprint."""
    context_length: int | None = None
    """Tokens of prompt and answer together."""
    kv_cache_tokens: int | None = None
    """Tokens that the KV cache holds."""


class SignalDocument(ServerDocument):
    """One look at a server."""

    stage: ReportedStage
    """What the server is doing."""
    stage_seconds: float = Field(ge=0)
    """Seconds since that stage began."""
    ready: bool
    """A chat was answered, and the server is not draining."""
    running: int = Field(default=0, ge=0)
    """Requests being computed."""
    waiting: int = Field(default=0, ge=0)
    """Requests in the engine's queue."""
    starved: int = Field(default=0, ge=0)
    """Requests among the waiting ones that the engine has no room for."""
    tokens: int | None = Field(default=None, ge=0)
    """Tokens of prompts and answers since the engine started: a request that came and went between
    two looks shows here only."""
    looping: int = Field(default=0, ge=0)
    """Requests that generate nothing but loops."""
    kv_cache_usage: float = Field(default=0, ge=0)
    """Used share of the KV cache, 0 to 1."""
    kv_pressure: bool = False
    """The KV cache is full and requests lose their place in it."""
    effective: EffectiveConfiguration = EffectiveConfiguration()
