"""Settings of the gate: how it handles requests and responses."""

from typing import Literal

from pydantic import Field

from mistral_server.contract.base import ContractModel

LoopAction = Literal["Off", "Observe", "Stop"]

OBSERVED_PATHS = ("/v1/chat/completions", "/v1/completions")
"""Paths that generate text and that the gate observes."""

KEYLESS_PATHS = ("/health", "/ping", "/load", "/version", "/metrics")
"""Paths that need no API key: probes of load balancers and Prometheus send none."""

_LIGHT_PATHS = ("/v1/models", "/v1/models/*", "/tokenize", "/detokenize", *KEYLESS_PATHS)
"""Paths that generate nothing."""

OPEN_PATHS = (*OBSERVED_PATHS, *_LIGHT_PATHS)
"""Paths that are open by default. vLLM serves about thirty more, which would bypass the gate."""


def is_open(path: str, paths: tuple[str, ...]) -> bool:
    """Return whether a path is in a list whose items are exact or end in `/*`."""
    return any(path == one or (one.endswith("/*") and path.startswith(one[:-1])) for one in paths)


def may_generate(method: str, path: str) -> bool:
    """Return whether a request to an open path may be one for generated text."""
    return method == "POST" and not is_open(path, _LIGHT_PATHS)


API_KEYS_FILE = "api-keys"
"""Key of the Secret, and file in the directory, with the API keys. A Secret without it was not made
for this: its values are never mounted, so they are no keys."""


class LoopSettings(ContractModel):
    """What counts as a loop, and how it is handled."""

    action: LoopAction = "Observe"
    """`Observe` counts loops, `Stop` also stops the generation, `Off` disables detection. A request
    overrides it with the header `X-Mistral-Loops: off`, `observe` or `stop`."""
    repeats: int = Field(default=4, ge=2)
    """Minimum number of consecutive repetitions that counts as a loop."""
    min_tokens: int = Field(default=256, ge=1)
    """Minimum number of tokens in these repetitions."""
    stop_repeats: int = Field(default=8, ge=2)
    """Minimum number of repetitions after which a generation is stopped."""
    stop_min_tokens: int = Field(default=512, ge=1)
    """Minimum number of tokens in these repetitions."""


class LimitSettings(ContractModel):
    """Limits of a request beside its size. A request beyond one is rejected with its name.

    Everything that one request makes the API process do is bounded, since that process serves all
    clients. The defaults leave room for every ordinary client.
    """

    choices: int = Field(default=128, ge=1)
    """Maximum `n` and `best_of`: how many responses one prompt may get."""
    prompts: int = Field(default=1024, ge=1)
    """Maximum number of prompts in one completion request."""
    generations: int = Field(default=2048, ge=1)
    """Maximum number of prompts times `n`."""
    messages: int = Field(default=8192, ge=1)
    """Maximum number of messages of a chat."""
    content_parts: int = Field(default=8192, ge=1)
    """Maximum number of content parts and tool calls in all messages together."""
    tools: int = Field(default=512, ge=1)
    """Maximum number of tools."""
    guided_choices: int = Field(default=1024, ge=1)
    """Maximum number of entries of `structured_outputs.choice`."""
    stop_strings: int = Field(default=256, ge=1)
    """Maximum number of entries of `stop`, `stop_token_ids` and `bad_words`, each."""
    logprobs: int = Field(default=128, ge=0)
    """Maximum of `logprobs`, `top_logprobs` and `prompt_logprobs`; vLLM's own limit is 20."""
    schema_bytes: int = Field(default=256 * 1024, ge=1)
    """Maximum size of everything that constrains the response together: schemas, grammars, regular
    expressions, choices and strict tools."""
    repetitions: int = Field(default=20_000, ge=1)
    """Maximum number of repetitions that schemas, grammars and regular expressions spell out, such
    as by `minItems` and `{1,100}`; nested ones multiply. Pairs of properties whose number is
    limited and digits of the bounds of numbers count too."""
    string_length: int = Field(default=1024 * 1024, ge=1)
    """Maximum `minLength` and `maxLength` in a schema that constrains the response."""
    repetition_pattern_tokens: int = Field(default=128, ge=1)
    """Maximum `repetition_detection.max_pattern_size`; larger values are clamped, since the engine
    checks every size for each token."""
    image_pixels: int = Field(default=32 * 1024 * 1024, ge=1)
    """Maximum number of pixels of one image. 8K has 33 million; the model looks at 2.4 million."""
    total_image_pixels: int = Field(default=128 * 1024 * 1024, ge=1)
    """Maximum number of pixels of all images of one request that are in the request itself."""
    text_bytes: int = Field(default=4 * 1024 * 1024, ge=1)
    """Maximum size of a request without its images. 131,072 tokens of text take about 0.6 MB."""
    brackets: int = Field(default=128 * 1024, ge=1)
    """Maximum number of `[` and `{` in a request. Each one that opens a list or an object takes the
    API process half a microsecond."""
    header_bytes: int = Field(default=64 * 1024, ge=1024)
    """Maximum size of the request line and the headers together."""
    head_seconds: int = Field(default=30, ge=1)
    """Time for a client to send the request line and the headers."""
    body_seconds: int = Field(default=300, ge=1)
    """Time for a client to send the body."""
    received_bytes: int = Field(default=1024 * 1024 * 1024, ge=1024)
    """Maximum size of all bodies together that one API process is receiving."""
    refusals_per_second: int = Field(default=20, ge=1)
    """Responses to rejected requests that one API process sends without delay. The default is 2 to
    4 % of the time of its event loop. Further ones are delayed by up to 10 seconds."""


class GateSettings(ContractModel):
    """Request policy and response corrections."""

    paths: tuple[str, ...] = OPEN_PATHS
    """Paths that are served, each exact or ending in `/*`; all others return 404."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of web pages that may use the API from a browser; none by default."""
    max_body_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    """Maximum request size. Ten images of 4 MB take 53 MB in base64."""
    limits: LimitSettings = LimitSettings()
    api_keys: str | None = None
    """Directory of the file `api-keys`, which contains one API key per line; None disables
    authentication. Reloaded on change."""
    loops: LoopSettings = LoopSettings()
    strict_tools: bool = False
    """Constrain names and arguments of tool calls to the client's schemas with the engine's
    grammar."""
    fit_max_tokens: bool = True
    """Clamp `max_tokens` to the remaining context window; vLLM rejects the request."""
    normalize_tool_ids: bool = True
    """Convert tool call ids in the conversation to the nine letters and digits that the model
    requires."""
    accept_developer: bool = True
    """Treat the role `developer` as `system`; the model's format has no such role."""
    honest_finish: bool = True
    """Report finish reason `length` for a truncated tool call and a stopped loop."""
