"""Settings of the gate: how it handles requests and responses."""

from typing import Literal

from pydantic import Field

from mistral_server.contract.base import ContractModel

LoopAction = Literal["Off", "Observe", "Stop"]

OPEN_PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/models",
    "/v1/models/*",
    "/tokenize",
    "/detokenize",
    "/health",
    "/ping",
    "/load",
    "/version",
    "/metrics",
)
"""Paths that are open by default: the two that the gate observes, and those that generate nothing.
vLLM serves about thirty more, which would bypass the gate."""

KEYLESS_PATHS = ("/health", "/ping", "/load", "/version", "/metrics")
"""Paths that need no API key: probes of load balancers and Prometheus send none."""


def is_open(path: str, paths: tuple[str, ...]) -> bool:
    """Return whether a path is in a list whose items are exact or end in `/*`."""
    return any(path == one or (one.endswith("/*") and path.startswith(one[:-1])) for one in paths)


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


class GateSettings(ContractModel):
    """Request policy and response corrections."""

    paths: tuple[str, ...] = OPEN_PATHS
    """Paths that are served, each exact or ending in `/*`; all others return 404."""
    max_body_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    """Maximum request size. Ten images of 4 MB take 53 MB in base64."""
    api_keys: str | None = None
    """Directory whose files contain one API key each; None disables authentication. Reloaded on
    change."""
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
