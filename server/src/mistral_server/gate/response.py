"""Read a response that is not streamed, and remove what only the gate requested. Pure."""

import re
from typing import Annotated, Any

import msgspec

from mistral_server.gate.observer import Observer, Piece
from mistral_server.gate.tool_calls import Call

TOKEN_IDS = re.compile(rb'"(prompt_token_ids|token_ids)":\s?\[[0-9, ]*\]')
"""Only matches a key: within a JSON string the quotes are escaped."""

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Errors of bytes that are not the expected JSON."""

NULL = msgspec.Raw(b"null")
_LENGTH = msgspec.Raw(b'"length"')


class Function(msgspec.Struct):
    """Name and arguments of a call, or their delta."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct):
    """A call, or its delta."""

    index: Annotated[int, msgspec.Meta(ge=0)] | None = None
    id: str | None = None
    function: Function | None = None


class Message(msgspec.Struct):
    """The assistant's message, or its delta."""

    content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None


class ResponseChoice(msgspec.Struct):
    """One choice of a response or of a chunk, for chats and completions."""

    index: int = 0
    message: Message | None = None
    delta: Message | None = None
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    token_ids: list[int] | None = None
    prompt_token_ids: msgspec.Raw = NULL

    def piece(self) -> Piece:
        """Return the piece for an observer."""
        message = self.message or self.delta or Message()
        calls = [
            (position if call.index is None else call.index, _call(call))
            for position, call in enumerate(message.tool_calls or ())
        ]
        return Piece(
            text=self.text or (message.reasoning or "") + (message.content or ""),
            token_ids=self.token_ids,
            calls=calls,
            finish_reason=self.finish_reason,
            stop_reason=self.stop_reason,
        )


class Usage(msgspec.Struct):
    """The engine's token usage."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class ResponseBody(msgspec.Struct):
    """The fields of a response that the gate reads."""

    choices: list[ResponseChoice] = []
    usage: Usage | None = None


_decode = msgspec.json.Decoder(ResponseBody).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


def observe(body: bytes, observer: Observer) -> None:
    """Pass a response to an observer.

    Raises:
        msgspec.MsgspecError: it is not a response; vLLM sends `null` to a disconnected client.
    """
    response = _decode(body)
    for choice in response.choices:
        observer.add(choice.index, choice.piece())
    if response.usage is not None:
        observer.count(response.usage.completion_tokens, response.usage.prompt_tokens)


def client_body(body: bytes, observer: Observer, *, accurate_finish: bool) -> tuple[bytes, bool]:
    """Return the response for the client, and whether a finish reason was corrected.

    Token ids that only the gate requested are removed.

    Args:
        body: the response that the observer has read.
        observer: has the generations of the response.
        accurate_finish: report `length` for a truncated call and for a stopped loop.
    """
    if not observer.options.own_token_ids:
        body = without_token_ids(body)
    misreported = {
        index
        for index, generation in observer.generations.items()
        if accurate_finish
        and generation.truncated
        and generation.finish_reason in {"tool_calls", "repetition"}
    }
    return (_corrected(body, misreported), True) if misreported else (body, False)


def without_token_ids(body: bytes) -> bytes:
    """Return a response, or a part of one, for a client that did not request token ids."""
    return TOKEN_IDS.sub(_null, body)  # a template string is twice as slow


def _null(ids: re.Match[bytes]) -> bytes:
    return b'"%b":null' % ids[1]


def _corrected(body: bytes, misreported: set[int]) -> bytes:
    fields = _decode_fields(body)
    choices = _decode_choices(fields["choices"])
    for choice in choices:
        if msgspec.json.decode(choice.get("index", b"0"), type=int) in misreported:
            choice["finish_reason"] = _LENGTH
    changed: dict[str, Any] = {**fields, "choices": choices}
    return msgspec.json.encode(changed)


def _call(call: ToolCall) -> Call:
    function = call.function or Function()
    return Call(function.name or "", function.arguments or "", call.id or "")
