"""`spec.engine`, `spec.images`, `spec.tools` and `spec.systemPrompt`: how the model runs."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from mistral_operator.api import patterns
from mistral_operator.api.base import (
    ApiModel,
    DataKey,
    Memory,
    MemoryShare,
    Name,
    Rule,
    cel_text,
    with_rules,
)
from mistral_operator.api.fields import FIELD_NAMES
from mistral_operator.api.speedups import ASYNC_SCHEDULING, KVOffload, Speculation
from mistral_server.contract.engine_args import (
    ALLOWED_ENGINE_ARGS,
    SETTING_OF_FLAG,
    canonical_flag,
)

MIN_CONTEXT = 1024
"""Minimum context length of a resource, and the minimum that `spec.oom` may set."""

MAX_CONTEXT = 131_072
"""Tokens that the model was trained for (params.json, max_position_embeddings)."""

TENSOR_PARALLEL_SIZES = (1, 2, 4, 8)
"""Sizes that divide both the 32 attention heads and the 8 KV heads."""

_ALLOWED = ", ".join(sorted(ALLOWED_ENGINE_ARGS))
_ALLOWED_CEL = "[" + ", ".join(f"'{flag}'" for flag in sorted(ALLOWED_ENGINE_ARGS)) + "]"


def _is_context_length(value: Any) -> bool:
    return value == "auto" or (type(value) is int and MIN_CONTEXT <= value <= MAX_CONTEXT)


_CONTEXT_LENGTH = Rule(
    "type(self) == string ? self == 'auto'"
    f" : (type(self) == int && int(self) >= {MIN_CONTEXT} && int(self) <= {MAX_CONTEXT})",
    f"spec.engine.contextLength must be auto or a number of tokens from {MIN_CONTEXT}"
    f" to {MAX_CONTEXT}, without quotes",
    _is_context_length,
)

ContextLength = Annotated[
    int | Literal["auto"],
    _CONTEXT_LENGTH.before,
    Field(json_schema_extra={"x-kubernetes-int-or-string": True, **with_rules(_CONTEXT_LENGTH)}),
]

_TENSOR_PARALLEL_SIZE = Rule(
    f"self in [{', '.join(map(str, TENSOR_PARALLEL_SIZES))}]",
    "spec.engine.tensorParallelSize must divide the model's 32 attention heads and"
    " 8 KV heads: write 1, 2, 4 or 8",
    lambda size: size in TENSOR_PARALLEL_SIZES,
)

_ARGUMENT = re.compile(r"--[A-Za-z0-9]([A-Za-z0-9_.-]*)(=[ -~]*)?")
"""A flag and its value in printable ASCII."""

_ARGUMENT_SHAPE = Rule(
    f"self.all(item, item.matches('^{_ARGUMENT.pattern}$'))",
    "spec.engine.extraArgs: write each item as --flag or --flag=value",
    lambda arguments: all(map(_ARGUMENT.fullmatch, arguments)),
)

_FLAG_CEL = "item.split('=')[0].replace('_', '-')"
_OWN_FIELDS = {flag: FIELD_NAMES[setting] for flag, setting in sorted(SETTING_OF_FLAG.items())}
"""The field of each flag that has one."""
_OWN_CEL = "{" + ", ".join(f"'{flag}': '{field}'" for flag, field in _OWN_FIELDS.items()) + "}"

_ARGUMENT_ALLOWED = Rule(
    # Other rules are about items of another shape and flags with a field: one message for each.
    f"self.all(item, !item.matches('^{_ARGUMENT.pattern}$') || {_FLAG_CEL} in {_ALLOWED_CEL}"
    f" || {_FLAG_CEL} in {_OWN_CEL})",
    f"spec.engine.extraArgs allows only arguments that tune speed or memory: {_ALLOWED}",
    lambda arguments: ALLOWED_ENGINE_ARGS.issuperset(map(canonical_flag, arguments)),
)

_ARGUMENT_WITH_FIELD = Rule(
    f"self.all(item, !({_FLAG_CEL} in {_OWN_CEL}))",
    "spec.engine.extraArgs: use the resource's own field where there is one",
    lambda arguments: _OWN_FIELDS.keys().isdisjoint(map(canonical_flag, arguments)),
    # Of texts from the resource itself, the API server assumes that they grow without end.
    message_expression=(
        "'spec.engine.extraArgs: '"
        + "".join(
            f" + (self.exists(item, {_FLAG_CEL} == '{flag}')"
            f" ? 'set {field} instead of {flag}. ' : '')"
            for flag, field in _OWN_FIELDS.items()
        )
    ),
    explain=lambda arguments: (
        "spec.engine.extraArgs: "
        + "".join(
            f"set {field} instead of {flag}. "
            for flag, field in _OWN_FIELDS.items()
            if flag in map(canonical_flag, arguments)
        )
    ),
)


class KVCache(ApiModel):
    """Type and size of the KV cache."""

    dtype: Literal["auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"] = "auto"
    """Data type of the KV cache. `auto` is the type of the weights; `fp8` doubles the number of
    tokens that fit."""
    memory: Memory | None = None
    """Size of the KV cache on each GPU, at most 1Pi, regardless of `gpuMemoryUtilization`. Unset:
    what remains of the engine's memory after weights and activations. Required with `device:
    cpu`."""


class Engine(ApiModel):
    """How vLLM runs the model."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!has(self.speculation) || !self.extraArgs.exists(item, {_FLAG_CEL}"
            f" == '{ASYNC_SCHEDULING}')",
            f"spec.engine.speculation does not work with {ASYNC_SCHEDULING}: remove the argument"
            " from spec.engine.extraArgs, or remove spec.engine.speculation",
            lambda one: (
                one.speculation is None
                or ASYNC_SCHEDULING not in map(canonical_flag, one.extra_args)
            ),
        ),
    )

    tensor_parallel_size: Annotated[int, _TENSOR_PARALLEL_SIZE.after] = Field(
        default=2,
        ge=1,
        le=8,
        json_schema_extra=with_rules(_TENSOR_PARALLEL_SIZE),
    )
    """Number of GPUs that share one copy of the model. Each replica requests this many GPUs on one
    node."""
    context_length: ContextLength = "auto"
    """Context length in tokens, prompt and answer together, at most 131072. `auto` is the longest
    context that fits the memory."""
    max_sequences: int | None = Field(default=None, ge=1, le=4096)
    """Maximum number of requests that are computed at the same time. Unset: vLLM's default for the
    GPU."""
    max_batched_tokens: int = Field(default=8192, ge=256, le=131_072)
    """Maximum number of tokens computed in one step. Raise it to speed up long prompts. Every 1024
    tokens take 0.22 GiB on one GPU, or 0.13 GiB on each of two. With vLLM 0.26, a single request
    with 10 large images has crashed a server at 16384."""
    gpu_memory_utilization: MemoryShare = 0.90
    """Share of each GPU's memory that the engine may use."""
    kv_cache: KVCache = KVCache()
    """Type and size of the KV cache."""
    kv_offload: KVOffload | None = None
    """Keep KV caches of earlier prompts in the memory of the node too. Unset: only in that of the
    GPUs. It is faster where prompts come again that the GPUs no longer hold: on an H200, six of
    6,000 tokens took 0.5 instead of 2.8 s. A server takes longer to start. GPUs only."""
    speculation: Speculation | None = None
    """Speculative decoding. Unset: none. It is faster where the answer repeats the prompt or
    itself, and slower otherwise: on an H200, one stream had 186 instead of 81 tokens/s on
    repetitive text, and 25 % less on sampled text. It takes 0.6 GiB of the GPU, and requests with
    `logit_bias` or `min_p` are rejected."""
    temperature: float = Field(default=0.15, ge=0, le=2)
    """Sampling temperature of requests that do not set one. The model card recommends 0.15."""
    api_servers: int = Field(default=1, ge=1, le=16)
    """Number of API server processes in front of one engine. Keep 1 unless the API process uses a
    full CPU core while the GPU waits, as with about 256 streams on an H200, where 2 processes
    served a quarter more tokens per second. Each further process needs one more CPU core in
    `pod.resources`."""
    extra_args: list[Annotated[str, Field(min_length=1, max_length=512)]] = Field(
        default=[],
        max_length=16,
        json_schema_extra=with_rules(_ARGUMENT_SHAPE, _ARGUMENT_WITH_FIELD, _ARGUMENT_ALLOWED),
    )
    """Additional arguments of `vllm serve`, each `--flag` or `--flag=value`, from the
    allow-list."""
    workarounds: Literal["Auto", "Disabled"] = "Auto"
    """Workarounds for known defects of the engine. `Auto` applies those for its version. `Disabled`
    applies none; use it to find out whether a workaround causes a problem."""

    @field_validator("extra_args")
    @classmethod
    def _check_extra_args(cls, arguments: list[str]) -> list[str]:
        """Check each argument separately, so that the message names it."""
        for argument in arguments:
            try:
                for rule in (_ARGUMENT_SHAPE, _ARGUMENT_WITH_FIELD, _ARGUMENT_ALLOWED):
                    rule.check([argument])
            except ValueError as error:
                raise ValueError(f"{str(error).rstrip('. ')}. Refused: {argument}") from error
        return arguments


_NOT_LOCAL = Rule(
    f"!self.matches('{cel_text(patterns.LOCAL_HOST)}')",
    "spec.images.domains cannot contain a name of the node itself, of the API server or of a"
    " metadata service: write the hosts of your images",
    lambda host: re.fullmatch(patterns.LOCAL_HOST, host) is None,
)

Domain = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=patterns.HOST,
        json_schema_extra=with_rules(_NOT_LOCAL),
    ),
    _NOT_LOCAL.after,
]


class Images(ApiModel):
    """Limits on images in prompts."""

    per_prompt: int = Field(default=10, ge=0, le=64)
    """Maximum number of images in one prompt. 0 serves text only and frees 0.8 GiB per replica."""
    domains: list[Domain] = Field(default=[], max_length=64)
    """Hosts that `image_url` may reference, such as images.example.com. Empty: images are accepted
    only as data: URLs, and the server downloads nothing for clients."""


class Tools(ApiModel):
    """Tool calling."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            # has() first: the API server evaluates the rule on the bare default {}.
            "!has(self.strict) || self.strict != 'Enforce' || self.enabled",
            "spec.tools.strict: Enforce requires tool calls: set spec.tools.enabled to true, or"
            " remove spec.tools.strict",
            lambda one: one.strict != "Enforce" or one.enabled,
        ),
    )

    enabled: bool = True
    """Parse tool calls, and let the model decide when to make them."""
    strict: Literal["Observe", "Enforce"] = "Observe"
    """`Observe` counts tool calls that the client cannot execute. `Enforce` also constrains the
    model: the engine's grammar then allows only the tools of the request, with arguments that match
    their schemas. A tool that sets `strict` itself keeps its value."""


class ConfigMapKey(ApiModel):
    """One key of a ConfigMap in the namespace of the resource."""

    name: Name
    """Name of the ConfigMap."""
    key: DataKey = "SYSTEM_PROMPT.txt"
    """Key within the ConfigMap."""


class SystemPrompt(ApiModel):
    """System prompt for conversations that do not provide one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            # has() first: the API server evaluates the rule on the bare default {}.
            "(has(self.source) && self.source == 'ConfigMap') == has(self.configMap)",
            "spec.systemPrompt.configMap requires source: ConfigMap, and source: ConfigMap"
            " requires configMap: set both or neither",
            lambda one: (one.source == "ConfigMap") == (one.config_map is not None),
        ),
    )

    source: Literal["None", "Official", "ConfigMap"] = "None"
    """Source of the system prompt. `None` adds none. `Official` is the SYSTEM_PROMPT.txt that comes
    with the model. `ConfigMap` is your own. In `Official` and `ConfigMap` prompts,
    `{name}`, `{today}` and `{yesterday}` are replaced at each request."""
    config_map: ConfigMapKey | None = None
    """ConfigMap that holds the system prompt, for `source: ConfigMap`."""
