"""The state that a running server reports: the document behind `/signals`."""

from typing import Annotated

from pydantic import Field

from mistral_server.contract.base import ServerDocument
from mistral_server.contract.stages import ReportedName, ReportedStage

_Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""A number that fits a status and leaves room for sums over pods."""


class EffectiveConfiguration(ServerDocument):
    """The effective configuration as the engine reports it."""

    vllm_version: ReportedName | None = None
    """Version of vLLM."""
    mistral_common_version: ReportedName | None = None
    """Version of mistral-common."""
    tensor_parallel_size: _Count | None = None
    """Ranks, read from the engine's fingerprint."""
    context_length: _Count | None = None
    """Tokens of prompt and response together."""
    kv_cache_tokens: _Count | None = None
    """Size of the KV cache in tokens."""


class SignalDocument(ServerDocument):
    """One sample of a server's state."""

    stage: ReportedStage = ""
    """What the server is doing; empty if it does not report it."""
    stage_seconds: float = Field(default=0, ge=0, allow_inf_nan=False)
    """Seconds since that stage began."""
    ready: bool
    """Whether a chat was answered and the server is not draining."""
    running: _Count = 0
    """Requests being computed."""
    waiting: _Count = 0
    """Requests in the engine's queue."""
    starved: _Count = 0
    """Waiting requests that the engine has no capacity for."""
    tokens: int | None = Field(default=None, ge=0, le=2**63 - 1)
    """Tokens of prompts and responses since the engine started. A request between two polls is only
    visible here."""
    looping: _Count = 0
    """Requests that only generate loops."""
    kv_cache_usage: float = Field(default=0, ge=0, allow_inf_nan=False)
    """Used share of the KV cache, 0 to 1."""
    kv_pressure: bool = False
    """Whether the KV cache is full and requests are evicted from it."""
    effective: EffectiveConfiguration = EffectiveConfiguration()
