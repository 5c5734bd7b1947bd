"""Read a generating request and apply the policy to it. Pure.

The outer object is split into raw fields. Only small fields are decoded, and unchanged ones are
copied: a request with 5 MB of images takes 1.5 ms.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mistral_server.contract import GateSettings, LoopAction
from mistral_server.gate.document import is_false, is_true, number
from mistral_server.gate.messages import Messages
from mistral_server.gate.reasoning import EFFORTS
from mistral_server.gate.tool_calls import Tools

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.encode

STOP_RULE = {"min_pattern_size": 64, "max_pattern_size": 128, "min_count": 8}
"""vLLM's own rule for responses that are not streamed, which the gate only sees when complete.

Every period up to 128 has a multiple between 64 and 128, so this equals eight repetitions and 512
tokens for all of them. It costs a third of checking each period: vLLM compares them one by one, for
each token.
"""


class _Function(msgspec.Struct):
    name: str = ""
    parameters: msgspec.Raw = msgspec.Raw(b"")


class _Tool(msgspec.Struct):
    """A tool, or a tool choice."""

    function: _Function | None = None


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """The options of a request that its response is evaluated by."""

    chat: bool
    stream: bool = False
    tools: Tools | None = None
    """None without tools."""
    own_token_ids: bool = False
    """Whether token ids stay in the response: the client requested them, or echoes its prompt."""
    stops: bool = False
    """Whether the client has its own stop strings or tokens."""
    loops: LoopAction = "Observe"
    usage: bool = False
    """Whether the last chunk of the stream has the token usage."""
    max_tokens: int | None = None
    """The client's token limit per choice."""


@dataclass(slots=True)
class Prepared:
    """A request for the engine."""

    body: bytes
    options: RequestOptions
    changes: list[str] = field(default_factory=list)
    """The changes, of `metrics.CHANGE_NAMES`."""


@dataclass(frozen=True, slots=True)
class RequestPolicy:
    """The policy that requests are prepared with."""

    settings: GateSettings
    system_prompt: str | None = None
    """System prompt for chats that do not provide one."""
    context_length: int | None = None
    """Tokens of prompt and response together; None if unavailable."""
    lacks_effort: bool = False
    """Whether the model has no reasoning effort."""


def prepare(body: bytes, *, chat: bool, loops: LoopAction, policy: RequestPolicy) -> Prepared:
    """Return the request with all changes of the policy.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError, RecursionError: the body is not a request. The
            application rejects it.
    """
    fields = _decode_fields(body)
    options = _options(fields, chat=chat, loops=loops)
    changes = _change_messages(fields, policy) if chat and "messages" in fields else []
    if policy.settings.fit_max_tokens and policy.context_length is not None:
        changes += _fit_max_tokens(fields, policy.context_length)
    if chat and policy.lacks_effort and _has_effort(fields):
        del fields["reasoning_effort"]
        changes.append("reasoning_effort")
    if policy.settings.strict_tools and options.tools is not None and _make_strict(fields):
        changes.append("strict_tools")
    own_rule = _value(fields, "repetition_detection")
    if own_rule is not None:
        changes += _clamp_rule(fields, own_rule, policy.settings.limits.repetition_pattern_tokens)
    elif loops == "Stop" and not options.stream:
        fields["repetition_detection"] = _raw(STOP_RULE)
        changes.append("loop_stop")
    if not _echoes(fields, chat=chat):
        fields["return_token_ids"] = _TRUE
    if is_false(_value(fields, "include_reasoning")):
        fields["include_reasoning"] = _TRUE  # without reasoning, vLLM omits the token ids too
    return Prepared(_encode(fields), options, changes)


def parse_options(body: bytes, *, chat: bool, loops: LoopAction) -> RequestOptions:
    """Return the options of a request.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError, RecursionError: the body is not a request.
    """
    return _options(_decode_fields(body), chat=chat, loops=loops)


def needs_context_length(body: bytes) -> bool:
    """Return whether preparing a request requires the engine's context length."""
    return b'"max_tokens"' in body or b'"max_completion_tokens"' in body


def lacks_system(body: bytes) -> bool:
    """Return whether a chat has no system message.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError, RecursionError: the body is not a request.
    """
    fields = _decode_fields(body)
    return "messages" in fields and not Messages(fields["messages"]).has_system


def _options(fields: Mapping[str, msgspec.Raw], *, chat: bool, loops: LoopAction) -> RequestOptions:
    stream_options = _value(fields, "stream_options")
    echo = _echoes(fields, chat=chat)
    return RequestOptions(
        chat=chat,
        stream=is_true(_value(fields, "stream")),
        tools=_tools(fields) if chat and _value(fields, "tools") else None,
        own_token_ids=echo or is_true(_value(fields, "return_token_ids")),
        stops=bool(_value(fields, "stop") or _value(fields, "stop_token_ids")),
        loops="Off" if echo else loops,  # without token ids, the prompt would count as generated
        usage=isinstance(stream_options, dict) and is_true(stream_options.get("include_usage")),
        max_tokens=_max_tokens(fields),
    )


def _has_effort(fields: Mapping[str, msgspec.Raw]) -> bool:
    effort = _value(fields, "reasoning_effort")
    return isinstance(effort, str) and effort in EFFORTS


def _echoes(fields: Mapping[str, msgspec.Raw], *, chat: bool) -> bool:
    """Return whether the response begins with the prompt.

    With token ids, vLLM omits the text of that prompt.
    """
    return not chat and is_true(_value(fields, "echo"))


def _max_tokens(fields: Mapping[str, msgspec.Raw]) -> int | None:
    limit = _value(fields, "max_completion_tokens") or _value(fields, "max_tokens")
    return limit if isinstance(limit, int) else None


def _tools(fields: Mapping[str, msgspec.Raw]) -> Tools:
    """Return the tools of a request, without those that have no function."""
    schemas = {}
    for raw in _decode_raw(fields["tools"]):
        function = msgspec.json.decode(raw, type=_Tool).function
        if function is not None:
            schemas[function.name] = bytes(function.parameters)
    choice = _value(fields, "tool_choice")
    if isinstance(choice, dict):
        named = msgspec.json.decode(fields["tool_choice"], type=_Tool).function
        return Tools(schemas, required=True, named=None if named is None else named.name)
    return Tools(schemas, required=choice == "required")


def _change_messages(fields: dict[str, msgspec.Raw], policy: RequestPolicy) -> list[str]:
    messages = Messages(fields["messages"])
    changes = []
    if policy.settings.accept_developer and messages.rename_developer():
        changes.append("developer_role")
    if policy.system_prompt and messages.add_system(policy.system_prompt):
        changes.append("system_prompt")
    if policy.settings.normalize_tool_ids and messages.normalize_ids():
        changes.append("tool_ids")
    encoded = messages.encoded()
    if encoded is not None:
        fields["messages"] = encoded
    return changes


def _fit_max_tokens(fields: dict[str, msgspec.Raw], context_length: int) -> list[str]:
    dropped = False
    for name in ("max_tokens", "max_completion_tokens"):
        value = _value(fields, name)
        if isinstance(value, int) and value >= context_length:
            del fields[name]  # vLLM's default is the remaining context
            dropped = True
    return ["max_tokens"] if dropped else []


def _clamp_rule(fields: dict[str, msgspec.Raw], rule: Any, largest: int) -> list[str]:
    """Clamp the patterns of the client's own rule: the engine tries each size for each token."""
    if not isinstance(rule, dict):
        return []
    clamped = dict(rule)
    for name in ("max_pattern_size", "min_pattern_size"):
        size = number(rule.get(name))
        if size is not None and size > largest:
            clamped[name] = largest
    if clamped == rule:
        return []
    fields["repetition_detection"] = _raw(clamped)
    return ["repetition_detection"]


def _make_strict(fields: dict[str, msgspec.Raw]) -> bool:
    """Set `strict` on every tool that does not set it; return whether any changed."""
    tools, changed = [], False
    for raw in _decode_raw(fields["tools"]):
        tool = _decode_fields(raw)
        function = _decode_fields(tool["function"]) if "function" in tool else {}
        if function and _value(function, "strict") is None:
            tool["function"] = _raw(function | {"strict": _TRUE})
            changed = True
        tools.append(tool)
    if changed:
        fields["tools"] = _raw(tools)
    return changed


def _value(fields: Mapping[str, msgspec.Raw], name: str) -> Any:
    """Return the decoded value of a small field, or None."""
    return msgspec.json.decode(fields[name]) if name in fields else None


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))


_TRUE = msgspec.Raw(b"true")
