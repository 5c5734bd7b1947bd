"""How sentences of the engine are rewritten for clients. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mistral_server.gate.document import NotJson, read_object
from mistral_server.gate.images import first_not_base64

_MARK = r"(?:\n\s*1 \||\Z)"
"""Where a grammar of the engine's own begins to be quoted."""


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """The request that an error answers."""

    method: str
    path: str
    request_id: str
    body: bytes = b""

    def document(self) -> dict[str, Any]:
        """Return the body, or nothing if it is not an object."""
        try:
            return read_object(self.body)
        except NotJson:
            return {}


@dataclass(frozen=True, slots=True)
class Rule:
    """How one sentence of the engine is rewritten."""

    pattern: re.Pattern[str]
    code: str
    message: str = ""
    """With groups of the pattern in braces; empty keeps the engine's sentence."""
    param: str | Callable[[ClientRequest], str | None] = ""
    """Empty keeps the engine's."""
    image: Callable[[ClientRequest], str] | None = None
    """What `{image}` stands for in the message."""
    raised: bool = False
    """Whether it is about the request even if the engine says that the server failed."""


def prompt_field(request: ClientRequest) -> str:
    """Return the field that has the prompt."""
    names = {"/chat/completions": "messages", "/responses": "input"}
    return next((name for end, name in names.items() if request.path.endswith(end)), "prompt")


def _constraint(request: ClientRequest) -> str | None:
    document = request.document()
    outer = document.get("response_format")
    if isinstance(outer, dict) and outer.get("json_schema"):
        return "response_format.json_schema.schema"
    names = ("response_format", "structured_outputs", "tools")
    return next((name for name in names if document.get(name)), None)


def _broken_image(request: ClientRequest) -> str:
    return first_not_base64(request.document()) or "An image"


def _rule(pattern: str, *args: Any, **more: Any) -> Rule:
    return Rule(re.compile(pattern, re.DOTALL), *args, **more)


RULES = (
    _rule(r"The model `.*` does not exist", "model_not_found", param="model"),
    _rule(r"maximum context length|maximum model length", "context_length_exceeded"),
    _rule(
        rf"failed to compile JSON schema: (.*?){_MARK}",
        "invalid_json_schema",
        "The JSON schema that constrains the response is not usable: {0}",
        _constraint,
    ),
    _rule(
        r"Invalid tool schema: (.*)",
        "invalid_json_schema",
        "The parameters of a tool are not a JSON schema: {0}",
        "tools",
    ),
    _rule(
        rf"(?:Grammar error: (?:at \d+\(\d+\): )?|Invalid grammar specification: )(.*?){_MARK}",
        "invalid_grammar",
        "The grammar or regular expression that constrains the response is not usable: {0}",
        _constraint,
    ),
    _rule(
        r"allowed domains: .*Input URL domain: (.*)",
        "image_url_not_allowed",
        "This endpoint fetches no images from {0}: send them as data: URLs in base64, or ask its"
        " administrator to allow the host.",
        "messages",
    ),
    _rule(
        r"Non-base64 digit|Incorrect padding|Only base64 data URLs",
        "invalid_base64",
        "{image} is not in base64: send a data: URL such as data:image/png;base64,iVBORw...",
        "messages",
        _broken_image,
        raised=True,
    ),
    _rule(
        r"(Failed to load image.*|cannot identify image file|broken data stream.*)",
        "unreadable_image",
        "An image cannot be read: {0}",
        "messages",
    ),
    _rule(
        r"exceed the maximum of (\d+) pixels",
        "limit_exceeded",
        "An image has more than {0} pixels: send a smaller one.",
        "messages",
        raised=True,
    ),
    _rule(
        r"exceeds limit of \d+ pixels",  # Pillow's own limit, which may be above the endpoint's
        "limit_exceeded",
        "An image has far too many pixels: send a smaller one.",
        "messages",
        raised=True,
    ),
    _rule(r"At most \d+ \w+\(s\) may be provided", "limit_exceeded", "", prompt_field),
    _rule(
        r"Cannot set `add_generation_prompt` to True",
        "invalid_message_order",
        "The last message is from the assistant: end with one of the user or a tool, or set"
        " `continue_final_message` to true and `add_generation_prompt` to false.",
        "messages",
    ),
    _rule(
        r"(Unexpected role '\w+' after role '\w+'|Expected last role .*)",
        "invalid_message_order",
        "The order of the messages is not one that the model knows: {0}",
        "messages",
    ),
    _rule(
        r"Unknown message role: (\w+)",
        "invalid_value",
        "The model knows no messages with the role {0}: use system, user, assistant or tool.",
        prompt_field,
    ),
    _rule(
        r"Invalid assistant message",
        "invalid_value",
        "A message of the assistant has neither content nor tool_calls.",
        "messages",
    ),
    _rule(
        r"Think not implemented",
        "unsupported_value",
        "A message of the assistant has reasoning, for which the model has no format: remove"
        " `reasoning_content` and `reasoning`.",
        "messages",
    ),
    _rule(
        r"\A'(\w+)'\Z",  # the text of a KeyError
        "missing_required_parameter",
        "The request lacks a required field: {0}",
        prompt_field,
    ),
    _rule(
        r"Invalid token for decoding",
        "invalid_value",
        "A token id is not in the vocabulary of the model.",
        "tokens",
        raised=True,
    ),
)
"""The first rule whose pattern is found counts. Every one of them is about the request."""
