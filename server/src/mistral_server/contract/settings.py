"""What the operator tells the server: one JSON document in one environment variable."""

from typing import Literal

from pydantic import Field

from mistral_server.contract.base import ContractModel
from mistral_server.contract.gate import GateSettings

SERVER_SETTINGS_ENV = "MISTRAL_SERVER_SETTINGS"
"""Environment variable that holds a `ServerSettings` as JSON."""

SERVER_TOKEN_ENV = "MISTRAL_SERVER_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable of the engine with a token that the supervisor makes up at each start."""

SERVER_TOKEN_HEADER = "x-mistral-server-token"  # noqa: S105 - the name of a header
"""Header in which the supervisor shows it: its requests pass the gate untouched and uncounted."""

FETCH_SETTINGS_ENV = "MISTRAL_FETCH_SETTINGS"
"""Environment variable that holds a `FetchSettings` as JSON."""

Device = Literal["cuda", "cpu"]
ModelFormat = Literal["mistral", "huggingface"]
WorkaroundPolicy = Literal["Auto", "Disabled"]


class ModelSettings(ContractModel):
    """Which model the engine loads, and how its files are read."""

    path: str
    """Directory that holds the model's files."""
    served_name: str
    """Name that clients write in `model`."""
    id: str
    """Identity of the model, for people and metrics; never resolved by the server."""
    format: ModelFormat = "mistral"
    """`mistral`: params.json, tekken.json and consolidated*.safetensors; `huggingface`: the
    rest."""
    random_weights: bool = False
    """Do not read weights, make random ones of the configured shape."""
    dtype: str = "bfloat16"
    """Type of weights and activations, as vLLM's `--dtype` takes it."""
    quantization: str | None = None
    """vLLM's `--quantization`; None reads it from the model's own configuration."""


class EngineSettings(ContractModel):
    """How vLLM runs the model."""

    tensor_parallel_size: int = Field(default=2, ge=1)
    """GPUs (or CPU ranks) that share one copy of the model."""
    context_length: int | None = Field(default=None, ge=1)
    """Tokens of prompt and answer together; None lets vLLM take the most that fits."""
    max_sequences: int | None = Field(default=None, ge=1)
    """Requests computed at the same time; None is vLLM's own default."""
    max_batched_tokens: int | None = Field(default=None, ge=1)
    """Tokens computed in one step; None is vLLM's own default."""
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    """Share of each GPU's memory that the engine may take."""
    kv_cache_dtype: str = "auto"
    """Type of the KV cache, as vLLM's `--kv-cache-dtype` takes it."""
    kv_cache_memory_bytes: int | None = Field(default=None, ge=1)
    """Bytes of KV cache on each rank; None derives it from the memory share."""
    images_per_prompt: int = Field(default=10, ge=0)
    """Images that one prompt may hold; 0 leaves the vision encoder out."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Sampling temperature of requests that name none; None is vLLM's own default of 1.0."""
    tools: bool = True
    """Parse tool calls and let the model choose when to make them."""
    api_servers: int = Field(default=1, ge=1)
    """API server processes of vLLM."""
    media_domains: tuple[str, ...] = ()
    """Hosts that `image_url` may name; none allows data: URLs only."""
    extra_args: tuple[str, ...] = ()
    """Further `vllm serve` arguments, each `--flag` or `--flag=value`, from the allow-list."""
    workarounds: WorkaroundPolicy = "Auto"
    """`Auto` applies the workarounds that fit the engine's version, `Disabled` none."""


class LifecycleSettings(ContractModel):
    """Times, all in seconds."""

    startup_seconds: int = Field(default=1800, ge=1)
    """Time from the start of the process to the first answered chat."""
    drain_seconds: int = Field(default=120, ge=0)
    """Time that running requests get to finish after a stop was asked for."""
    endpoint_removal_seconds: int = Field(default=5, ge=0)
    """Time between turning unready and refusing requests, for load balancers to notice."""
    stall_seconds: int = Field(default=120, ge=1)
    """A running engine that computes no token for this long counts as hung."""


class SystemPromptSettings(ContractModel):
    """The system prompt for conversations that bring none of their own."""

    path: str
    """File of the template; `{name}`, `{today}` and `{yesterday}` are filled in."""


class ServerSettings(ContractModel):
    """Everything that `mistral-server run` needs to know."""

    device: Device = "cuda"
    """What the engine computes on."""
    host: str = "0.0.0.0"  # noqa: S104 - a pod's own address is not known before it starts
    """Address that the API and the health port bind to."""
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


class FetchSettings(ContractModel):
    """Everything that `mistral-server fetch` needs to know."""

    repository: str
    """Repository on the hub, `owner/name`."""
    revision: str
    """Commit, tag or branch."""
    directory: str
    """Directory that receives the files."""
    format: ModelFormat = "mistral"
    """Which of the repository's two sets of weights to fetch."""
