"""`spec.loops` and `spec.gate`: loop detection, and what the gate does with requests."""

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

    action: Literal["Off", "Observe", "Stop"] = "Observe"
    """What happens to a generation that repeats itself. `Observe` counts it in metrics and changes
    nothing. `Stop` also ends it once it has repeated itself long enough; the finish reason is then
    `length`. `Off` disables the detection. Write "Off" in quotes: YAML reads it as false without
    them. A request overrides it with the header `X-Mistral-Loops: off`, `observe` or `stop`."""
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
    minute, without a restart. Only the pods read it."""


Path = Annotated[str, Field(min_length=2, max_length=253, pattern=patterns.API_PATH)]


_MAX_BODY_SIZE = Rule(
    "type(self) == string ? quantity(self).compareTo(quantity('1Mi')) >= 0 : int(self) >= 1048576",
    "spec.gate.maxBodySize must be at least 1Mi",
    lambda size: not is_quantity(size) or is_at_least(str(size), 1024**2),
)


class Gate(ApiModel):
    """Request policy and accurate finish reasons."""

    api_keys: ApiKeys | None = None
    """API keys that clients must send as `Authorization: Bearer KEY`. Unset: no authentication;
    anyone who can reach the Service can use it. Probes and metrics need no key."""
    paths: list[Path] = Field(default=[], max_length=32)
    """Additional paths of vLLM's server that clients may use, each exact or ending in `/*`. Always
    available are chat completions, completions, models, tokenize and probes. Every other path
    returns 404, since most of them generate text without loop detection and tool checks."""
    max_body_size: Annotated[Memory, _MAX_BODY_SIZE.before] = Field(
        default="64Mi", json_schema_extra=with_rules(_MAX_BODY_SIZE)
    )
    """Maximum size of a request body, at most 1Pi. Ten images of 4 MB take 53 MB."""
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
