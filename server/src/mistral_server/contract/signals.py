"""The state that a running server reports: the document behind `/signals`."""

from typing import Annotated, Literal

from pydantic import Field

from mistral_server.contract.base import ServerDocument
from mistral_server.contract.key_digests import KeyDigests
from mistral_server.contract.lenient import cut_to
from mistral_server.contract.stages import ReportedName, ReportedStage

_Requests = Annotated[int, Field(ge=0, le=10**6)]
"""A number of requests: more than any engine has, and it leaves room for sums over pods."""

_Ranks = Annotated[int, Field(ge=0, le=1024)]

_Tokens = Annotated[int, Field(ge=0, le=2**53)]
"""A number of tokens, which every reader of JSON keeps exactly."""


CompileCacheUse = Literal["hit", "miss", "off"]
"""Whether a start loaded compiled code, compiled it, or could not use the compile cache."""

_Reason = Annotated[str, cut_to(256), Field(max_length=256)]


class CompileCacheReport(ServerDocument):
    """What a start did with the compile cache that its pods keep."""

    use: CompileCacheUse | None = None
    """What it did; None if a server of another version uses another word."""
    reason: _Reason = ""
    """Why it could not use it; empty if it could."""


class EffectiveConfiguration(ServerDocument):
    """The effective configuration as the engine reports it."""

    vllm_version: ReportedName | None = None
    """Version of vLLM."""
    mistral_common_version: ReportedName | None = None
    """Version of mistral-common."""
    tensor_parallel_size: _Ranks | None = None
    """Ranks, read from the engine's fingerprint."""
    context_length: _Tokens | None = None
    """Tokens of prompt and response together."""
    kv_cache_tokens: _Tokens | None = None
    """Size of the KV cache in tokens."""


_Bytes = Annotated[int, Field(ge=0, le=2**53)]


class FetchProgress(ServerDocument):
    """How much of a model is fetched."""

    fetched_bytes: _Bytes = 0
    """Bytes that are in the model's directory."""
    total_bytes: _Bytes | None = None
    """Size of all files; None while it is not known."""


class SignalDocument(ServerDocument):
    """One sample of a server's state."""

    stage: ReportedStage = ""
    """What the server is doing; empty if it does not report it."""
    stage_seconds: float = Field(default=0, ge=0, le=10**9, allow_inf_nan=False)
    """Seconds since that stage began."""
    ready: bool
    """Whether a chat was answered and the server is not draining."""
    running: _Requests = 0
    """Requests being computed, on average over the last seconds."""
    waiting: _Requests = 0
    """Requests in the engine's queue, on average over the last seconds."""
    starved: _Requests = 0
    """Waiting requests that the engine has no capacity for."""
    tokens: _Tokens | None = None
    """Tokens of prompts and responses since the engine started. A request between two polls is only
    visible here."""
    looping: _Requests = 0
    """Requests that only generate loops, on average over the last seconds."""
    kv_cache_usage: float = Field(default=0, ge=0, le=1, allow_inf_nan=False)
    """Used share of the KV cache, 0 to 1."""
    kv_pressure: bool = False
    """Whether the KV cache is full and requests are evicted from it."""
    effective: EffectiveConfiguration = EffectiveConfiguration()
    compile_cache: CompileCacheReport | None = None
    """What the start did with the kept compile cache; None without one, or if it is not known
    yet."""
    fetch: FetchProgress | None = None
    """Progress of the init container that fetches the model; None from a server."""
    key_digests: KeyDigests | None = None
    """Digests of the API keys; None without keys, with too many, or if they are not known yet."""
