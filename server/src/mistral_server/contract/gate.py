"""What the gate does with requests and answers."""

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
"""Paths that are open without being asked for: the two that the gate observes, and those that
generate nothing. vLLM serves some thirty more, each another way past what the gate sees."""


class LoopSettings(ContractModel):
    """What counts as a loop, and what is done about one."""

    action: LoopAction = "Observe"
    """`Observe` counts, `Stop` also ends the generation, `Off` does not look. A request overrides
    it by the header `X-Mistral-Loops: off`, `observe` or `stop`."""
    repeats: int = Field(default=4, ge=2)
    """Copies from which on a repeated text counts."""
    min_tokens: int = Field(default=256, ge=1)
    """Tokens that the copies have together at least."""
    stop_repeats: int = Field(default=8, ge=2)
    """Copies from which on a generation is ended."""
    stop_min_tokens: int = Field(default=512, ge=1)
    """Tokens that these copies have together at least."""


class GateSettings(ContractModel):
    """Policy on the way in, honesty on the way out."""

    paths: tuple[str, ...] = OPEN_PATHS
    """Paths that are served, each exact or ending in `/*`; every other answers 404."""
    max_body_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    """Largest request. Ten images of 4 MB take 53 MB in base64."""
    api_keys: str | None = None
    """Directory whose files hold one API key each; None asks for no key. Read again when it
    changes."""
    loops: LoopSettings = LoopSettings()
    strict_tools: bool = False
    """Let the engine's grammar hold names and arguments of tool calls to the caller's schemas."""
    fit_max_tokens: bool = True
    """A `max_tokens` of the whole context or more means as many as fit; vLLM refuses it."""
    normalize_tool_ids: bool = True
    """Tool call ids in the conversation become nine letters and digits, as the model demands."""
    accept_developer: bool = True
    """The role `developer` means `system`; the model's format has no such role."""
    honest_finish: bool = True
    """A tool call that was cut says `length`, and so does a stopped loop."""
