"""`spec.loops` and `spec.gate`: what happens to requests and answers on their way."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mistral_operator.api.base import ApiModel, Memory, Name, Rule, with_rules
from mistral_operator.kube.quantities import is_at_least


class Loops(ApiModel):
    """Generations that repeat themselves for ever."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            # has() first: the API server tries the rule on the default {} as it stands.
            "(!has(self.stopRepeats) || self.stopRepeats >= self.repeats)"
            " && (!has(self.stopMinTokens) || self.stopMinTokens >= self.minTokens)",
            "spec.loops: what is stopped must count as a loop first: set stopRepeats to at"
            " least repeats, and stopMinTokens to at least minTokens",
            lambda one: one.stop_repeats >= one.repeats and one.stop_min_tokens >= one.min_tokens,
        ),
    )

    action: Literal["Off", "Observe", "Stop"] = "Observe"
    """`Observe` counts loops in metrics and changes nothing. `Stop` also ends a generation once it
    has repeated itself for long; the answer then says `length`. `Off` does not look. Write "Off"
    with quotes: YAML reads it as false without them. A request overrides it by the header
    `X-Mistral-Loops: off`, `observe` or `stop`."""
    repeats: int = Field(default=4, ge=2, le=100)
    """Copies from which on a repeated piece of text counts as a loop."""
    min_tokens: int = Field(default=256, ge=16, le=16_384)
    """Tokens that the copies must have together."""
    stop_repeats: int = Field(default=8, ge=2, le=1000)
    """Copies from which on `Stop` ends a generation. Legitimate text repeats itself too: tables of
    zeros, base64."""
    stop_min_tokens: int = Field(default=512, ge=16, le=65_536)
    """Tokens that these copies must have together."""


class ApiKeys(ApiModel):
    """Keys that callers must show."""

    secret: Name
    """Name of a Secret in the namespace of the resource. Each of its values is one valid key. A
    changed Secret counts within about a minute, without a restart. Nothing but the pods reads
    it."""


Path = Annotated[str, Field(min_length=2, max_length=253, pattern=r"^/[A-Za-z0-9._/-]*(/\*)?$")]


_MAX_BODY_SIZE = Rule(
    "type(self) == string ? quantity(self).compareTo(quantity('1Mi')) >= 0 : int(self) >= 1048576",
    "spec.gate.maxBodySize must be at least 1Mi",
    lambda size: is_at_least(str(size), 1024**2),
)


class Gate(ApiModel):
    """Policy for requests, and honesty in answers."""

    api_keys: ApiKeys | None = None
    """Keys that callers must show, as `Authorization: Bearer KEY`. Unset: none is asked for, and
    whoever reaches the Service may use it. Probes and metrics need none."""
    paths: list[Path] = Field(default=[], max_length=32)
    """Further paths of vLLM's server to open, each exact or ending in `/*`. Open are chat
    completions, completions, models, tokenize and probes; every other answers 404, since most are
    ways to generate past loop detection and tool checks."""
    max_body_size: Annotated[Memory, _MAX_BODY_SIZE.before] = Field(
        default="64Mi", json_schema_extra=with_rules(_MAX_BODY_SIZE)
    )
    """Largest request. Ten images of 4 MB take 53 MB."""
    fit_max_tokens: bool = True
    """Take a `max_tokens` of the whole context or more for as many as fit; vLLM refuses it."""
    normalize_tool_ids: bool = True
    """Turn tool call ids in a conversation into the nine letters and digits that the model's format
    demands; clients of other servers bring longer ones."""
    accept_developer: bool = True
    """Take the role `developer` for `system`; the model's format knows no other."""
    honest_finish: bool = True
    """Say `length` where vLLM says `tool_calls` of a call that it cut, and of a stopped loop."""
