"""`spec.loops` and `spec.gate`: loop detection, and what the gate does with requests."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mistral_operator.api import patterns
from mistral_operator.api.base import ApiModel, Memory, Name, Rule, is_quantity, with_rules
from mistral_operator.kube.quantities import is_at_least


class Loops(ApiModel):
    """Detection of endless repetition."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            # has() first: the API server evaluates the rule on the bare default {}.
            "(!has(self.stopRepeats) || self.stopRepeats >= self.repeats)"
            " && (!has(self.stopMinTokens) || self.stopMinTokens >= self.minTokens)",
            "spec.loops: stopRepeats must be at least repeats, and stopMinTokens at least"
            " minTokens: raise the stop values, or lower the others",
            lambda one: one.stop_repeats >= one.repeats and one.stop_min_tokens >= one.min_tokens,
        ),
    )

    action: Literal["Disabled", "Observe", "Stop", "Off"] = "Observe"
    """What happens to a generation that repeats itself. `Observe` counts it in metrics and changes
    nothing. `Stop` also ends it once it has repeated itself long enough; the finish reason is then
    `length`. `Disabled` turns the detection off; `"Off"` is its former name, which YAML reads as
    false without quotes. A request overrides it with the header `X-Mistral-Loops: off`, `observe`
    or `stop`."""
    repeats: int = Field(default=4, ge=2, le=100)
    """Minimum number of consecutive repetitions that counts as a loop."""
    min_tokens: int = Field(default=256, ge=16, le=16_384)
    """Minimum number of tokens that these repetitions have together."""
    stop_repeats: int = Field(default=8, ge=2, le=1000)
    """Minimum number of consecutive repetitions at which `Stop` ends a generation. Raise it for
    legitimate text that repeats itself, such as tables of zeros or base64."""
    stop_min_tokens: int = Field(default=512, ge=16, le=65_536)
    """Minimum number of tokens in the repetitions at which `Stop` ends a generation."""


class ApiKeys(ApiModel):
    """API keys that clients must send."""

    secret: Name
    """Name of a Secret in the namespace of the resource with the key `api-keys`: one API key per
    line; empty lines and lines that start with `#` are ignored. Nothing else of the Secret is read,
    so a Secret for another purpose is not accepted. A changed Secret takes effect within about a
    minute, without a restart. Only the pods read it. They publish salted digests of the keys, so
    use random keys of at least 128 bits."""


Path = Annotated[str, Field(min_length=2, max_length=253, pattern=patterns.API_PATH)]


_MAX_BODY_SIZE = Rule(
    "type(self) == string ? !isQuantity(self) || quantity(self).compareTo(quantity('1Mi')) >= 0"
    " : int(self) >= 1048576",
    "spec.gate.maxBodySize must be at least 1Mi",
    lambda size: not is_quantity(size) or is_at_least(str(size), 1024**2),
)


class Limits(ApiModel):
    """Limits of what one request may contain. Every ordinary client stays below the defaults.

    Raise a limit if it rejects your own clients, and lower it for clients that you do not trust.
    """

    choices: int = Field(default=128, ge=1, le=16_384)
    """Maximum `n`: how many responses one prompt may get."""
    prompts: int = Field(default=1024, ge=1, le=65_536)
    """Maximum number of prompts in one request to `/v1/completions`."""
    generations: int = Field(default=2048, ge=1, le=65_536)
    """Maximum number of prompts multiplied by `n`."""
    messages: int = Field(default=8192, ge=1, le=1_000_000)
    """Maximum number of messages in a chat."""
    content_parts: int = Field(default=8192, ge=1, le=1_000_000)
    """Maximum number of content parts and tool calls in all messages of a chat."""
    tools: int = Field(default=512, ge=1, le=16_384)
    """Maximum number of tools."""
    guided_choices: int = Field(default=1024, ge=1, le=65_536)
    """Maximum number of entries of `structured_outputs.choice`."""
    stop_strings: int = Field(default=256, ge=1, le=65_536)
    """Maximum number of entries of `stop`, of `stop_token_ids` and of `bad_words`."""
    logprobs: int = Field(default=128, ge=0, le=131_072)
    """Maximum `logprobs`, `top_logprobs` and `prompt_logprobs`. The engine's own limit is 20."""
    schema_bytes: int = Field(default=262_144, ge=1, le=67_108_864)
    """Maximum size in bytes of everything that constrains the response: JSON schemas, grammars,
    regular expressions, choices and strict tools."""
    repetitions: int = Field(default=20_000, ge=1, le=10_000_000)
    """Maximum number of repetitions in these schemas and grammars, such as by `maxItems` and
    `{1,100}`. Nested repetitions multiply. Compiling a million of them takes seconds. With
    `minProperties` or `maxProperties`, four pairs of optional properties count as a repetition."""
    string_length: int = Field(default=1_048_576, ge=1, le=1_073_741_824)
    """Maximum `minLength` and `maxLength` in these schemas."""
    repetition_pattern_tokens: int = Field(default=128, ge=1, le=16_384)
    """Maximum `repetition_detection.max_pattern_size` of a request. A larger one is lowered to this
    value, since the engine tries every size for each token."""
    image_pixels: int = Field(default=33_554_432, ge=1, le=1_073_741_824)
    """Maximum number of pixels of one image, for the engine too. An 8K image has 33 million; the
    model looks at 2.4 million."""
    total_image_pixels: int = Field(default=134_217_728, ge=1, le=17_179_869_184)
    """Maximum number of pixels of all images in one request, without those that are fetched by
    their URL."""
    text_bytes: int = Field(default=4_194_304, ge=1024, le=1_073_741_824)
    """Maximum size of a request without its images, in bytes. Text of 131,072 tokens takes about
    0.6 MB."""
    brackets: int = Field(default=131_072, ge=16, le=16_777_216)
    """Maximum number of `[` and `{` in a request. Parsing a request takes about half a microsecond
    for each of them."""
    header_bytes: int = Field(default=65_536, ge=1024, le=4_194_304)
    """Maximum size of the headers of a request, in bytes."""
    head_seconds: int = Field(default=30, ge=1, le=3600)
    """Maximum time for a client to send the request line and the headers, in seconds."""
    body_seconds: int = Field(default=300, ge=1, le=3600)
    """Maximum time for a client to send the body of a request, in seconds."""
    received_bytes: int = Field(default=1_073_741_824, ge=1_048_576, le=1_099_511_627_776)
    """Maximum size of all request bodies that one API process is receiving, in bytes. Further
    requests return 503."""
    refusals_per_second: int = Field(default=20, ge=1, le=100_000)
    """Responses with status 4xx that one API process sends without delay, per second. Further ones
    are delayed by up to 10 seconds, since clients that repeat rejected requests in a loop would
    slow down the streams of all others. 429 is never delayed."""


Origin = Annotated[str, Field(min_length=8, max_length=128, pattern=patterns.ORIGIN)]
_DEFAULT_PORT = re.compile(r"http://.*:80|https://.*:443")


class Gate(ApiModel):
    """Request policy and accurate finish reasons."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            # has() first: the API server evaluates the rule on the bare default {}.
            "!has(self.allowedOrigins) || self.allowedOrigins.all(one,"
            " !(one.startsWith('https:') && one.endsWith(':443'))"
            " && !(one.startsWith('http:') && one.endsWith(':80')))",
            "spec.gate.allowedOrigins: browsers leave out the default port: remove :443 from"
            " https:// and :80 from http://",
            lambda one: not any(map(_DEFAULT_PORT.fullmatch, one.allowed_origins)),
        ),
    )

    api_keys: ApiKeys | None = None
    """API keys that clients must send as `Authorization: Bearer KEY`. Unset: no authentication;
    anyone who can reach the Service can use it. Probes and metrics need no key."""
    paths: list[Path] = Field(default=[], max_length=32)
    """Additional paths of vLLM's server that clients may use, each exact or ending in `/*`. Always
    available are chat completions, completions, models, tokenize and probes. Every other path
    returns 404, since most of them generate text without loop detection and tool checks. With
    `autoscaling.minReplicas: 0` at most 160 characters, with 3 more for each path."""
    allowed_origins: list[Origin] = Field(default=[], max_length=8)
    """Origins of web pages that may use the API from a browser (CORS), such as
    `https://chat.example.com`. By default none may. A page shows its API key to all its users. With
    `autoscaling.minReplicas: 0` they count as paths, and 13 more."""
    max_body_size: Annotated[Memory, _MAX_BODY_SIZE.before] = Field(
        default="64Mi", json_schema_extra=with_rules(_MAX_BODY_SIZE)
    )
    """Maximum size of a request body, at most 1Pi. Ten images of 4 MB take 53 MB."""
    limits: Limits = Limits()
    """Limits of what one request may contain. A small request can otherwise keep the process that
    answers all clients busy for minutes."""
    fit_max_tokens: bool = True
    """Clamp `max_tokens` to the remaining context window if it is the whole context length or more.
    If false, vLLM rejects the request."""
    normalize_tool_ids: bool = True
    """Convert tool call ids in a conversation to the nine letters and digits that the model's
    format requires. Clients of other servers send longer ones."""
    accept_developer: bool = True
    """Convert the role `developer` to `system`, since the model's format has no role
    `developer`."""
    honest_finish: bool = True
    """Report finish reason `length` when a tool call was truncated or a loop was stopped; vLLM
    reports `tool_calls` for a truncated call."""
