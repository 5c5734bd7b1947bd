"""Settings of the server: one JSON document in one environment variable."""

from typing import Literal

from pydantic import Field

from mistral_server.contract.base import ContractModel
from mistral_server.contract.gate import GateSettings

SERVER_SETTINGS_ENV = "MISTRAL_SERVER_SETTINGS"
"""Environment variable that holds a `ServerSettings` as JSON."""

SERVER_TOKEN_ENV = "MISTRAL_SERVER_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable of the engine with a token that the supervisor generates at each start."""

SERVER_TOKEN_HEADER = "x-mistral-server-token"  # noqa: S105 - the name of a header
"""Header with the token. Requests with it pass the gate unchanged and uncounted."""

DRAINING_ENV = "MISTRAL_SERVER_DRAINING"
"""Environment variable of the engine: path of a file that exists while the server drains."""

ENDPOINT_ENV = "MISTRAL_SERVER_ENDPOINT"
"""Environment variable with the endpoint of the pod, as `endpoint_text` writes it. It is none of
the settings: a server of an older version rejects a setting that it does not know."""

COMPILE_CACHE_ENV = "MISTRAL_SERVER_COMPILE_CACHE"
"""Environment variable with the directory that keeps compiled code between starts, none of the
settings for the same reason."""

ENDPOINT_HEADER = "x-mistral-endpoint"
"""Header in which the activator says for which endpoint a request is."""


def endpoint_text(namespace: str, name: str) -> str:
    """Return an endpoint as the environment variable and the header have it."""
    return f"{namespace}/{name}"


FETCH_SETTINGS_ENV = "MISTRAL_FETCH_SETTINGS"
"""Environment variable that holds a `FetchSettings` as JSON."""

Device = Literal["cuda", "cpu"]
ModelFormat = Literal["mistral", "huggingface"]
WorkaroundPolicy = Literal["Auto", "Disabled"]


class ModelSettings(ContractModel):
    """Which model the engine loads, and how its files are read."""

    path: str
    """Directory of the model's files."""
    served_name: str
    """Model name in requests."""
    id: str
    """Identity of the model, for users and metrics; never resolved by the server."""
    format: ModelFormat = "mistral"
    """`mistral`: params.json, tekken.json and consolidated*.safetensors; `huggingface`: the
    rest."""
    random_weights: bool = False
    """Generate random weights of the configured shape instead of reading them."""
    dtype: str = "bfloat16"
    """Type of weights and activations, as vLLM's `--dtype` takes it."""
    quantization: str | None = None
    """vLLM's `--quantization`; None reads it from the model's own configuration."""


class SpeculationSettings(ContractModel):
    """Speculative decoding by n-grams: what followed the last tokens earlier is proposed again."""

    tokens: int = Field(default=4, ge=1)
    """Tokens that are proposed for each step."""
    lookup_min: int = Field(default=2, ge=1)
    """Least number of last tokens that must occur earlier."""
    lookup_max: int = Field(default=4, ge=1)
    """Largest number of last tokens that are searched for."""


class EngineSettings(ContractModel):
    """How vLLM runs the model."""

    tensor_parallel_size: int = Field(default=2, ge=1)
    """GPUs (or CPU ranks) per copy of the model."""
    context_length: int | None = Field(default=None, ge=1)
    """Tokens of prompt and response together; None lets vLLM use the maximum that fits."""
    max_sequences: int | None = Field(default=None, ge=1)
    """Maximum number of concurrent requests; None is vLLM's own default."""
    max_batched_tokens: int | None = Field(default=None, ge=1)
    """Maximum number of tokens per step; None is vLLM's own default."""
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    """Share of each GPU's memory that the engine may use."""
    kv_cache_dtype: str = "auto"
    """Type of the KV cache, as vLLM's `--kv-cache-dtype` takes it."""
    kv_cache_memory_bytes: int | None = Field(default=None, ge=1)
    """Bytes of KV cache per rank; None derives it from the memory share."""
    kv_offload_bytes: int | None = Field(default=None, ge=1)
    """Bytes of /dev/shm for KV caches that the GPUs no longer hold, of all ranks together."""
    speculation: SpeculationSettings | None = None
    """Speculative decoding; None computes every token in a step of its own."""
    images_per_prompt: int = Field(default=10, ge=0)
    """Maximum number of images per prompt; 0 disables the vision encoder."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Default sampling temperature of requests; None is vLLM's own default of 1.0."""
    tools: bool = True
    """Parse tool calls and enable automatic tool choice."""
    api_servers: int = Field(default=1, ge=1)
    """Number of API server processes of vLLM."""
    media_domains: tuple[str, ...] = ()
    """Hosts that are allowed in `image_url`; an empty list allows data: URLs only."""
    extra_args: tuple[str, ...] = ()
    """Further `vllm serve` arguments, each `--flag` or `--flag=value`, from the allow-list."""
    workarounds: WorkaroundPolicy = "Auto"
    """`Auto` applies the workarounds for the engine's version, `Disabled` none."""


class LifecycleSettings(ContractModel):
    """Times, all in seconds."""

    startup_seconds: int = Field(default=1800, ge=1)
    """Time from the start of the process to the first answered chat."""
    drain_seconds: int = Field(default=120, ge=0)
    """Time for running requests to finish after a stop was requested."""
    endpoint_removal_seconds: int = Field(default=5, ge=0)
    """Time between becoming unready and rejecting requests, so that load balancers update."""
    stall_seconds: int = Field(default=120, ge=1)
    """A running engine that computes no token for this long counts as hung."""


class SystemPromptSettings(ContractModel):
    """System prompt for conversations that do not provide one."""

    path: str
    """File of the template; `{name}`, `{today}` and `{yesterday}` are filled in."""


class LogSettings(ContractModel):
    """What is logged, and how."""

    requests: bool = True
    """Write a line of JSON for each request."""
    format: Literal["Text", "JSON"] | None = None
    """Format of all lines; None leaves each program its own."""


class ServerSettings(ContractModel):
    """All settings of `mistral-server run`."""

    device: Device = "cuda"
    """Device of the engine."""
    host: str = ""
    """Address that the API and the health port bind to. Empty: every address, IPv6 and IPv4."""
    port: int = Field(default=8000, ge=1, le=65535)
    """Port of the OpenAI-compatible API."""
    health_port: int = Field(default=8001, ge=1, le=65535)
    """Port of /startupz, /readyz, /livez, /metrics and /signals."""
    termination_log: str = "/dev/termination-log"
    """File that receives the termination report."""
    model: ModelSettings
    engine: EngineSettings = EngineSettings()
    lifecycle: LifecycleSettings = LifecycleSettings()
    system_prompt: SystemPromptSettings | None = None
    gate: GateSettings = GateSettings()
    logs: LogSettings = LogSettings()


class FetchSettings(ContractModel):
    """All settings of `mistral-server fetch`."""

    repository: str
    """Repository on the hub, `owner/name`."""
    revision: str
    """Commit, tag or branch."""
    directory: str
    """Directory that receives the files."""
    format: ModelFormat = "mistral"
    """Which of the repository's two sets of weights to fetch."""
    verify: Literal["Sizes", "Hashes"] = "Sizes"
    """What is compared of a model that is already there: `Hashes` reads all of it."""
    health_port: int = Field(default=8001, ge=1, le=65535)
    """Port of /signals, which is free until the server starts."""
    logs: LogSettings = LogSettings()
