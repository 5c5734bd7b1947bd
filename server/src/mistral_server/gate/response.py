"""Read an answer that is not streamed, and give the client what it would have seen. Pure."""

import re
from typing import Annotated, Any

import msgspec

from mistral_server.gate.observer import Observer, Piece
from mistral_server.gate.tool_calls import Call

TOKEN_IDS = re.compile(rb'"(prompt_token_ids|token_ids)":\s?\[[0-9, ]*\]')
"""Can only be a key: within a JSON string the quotes would be escaped."""

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Raised for bytes that are not the JSON that is expected, such as an answer or an event of one."""

NULL = msgspec.Raw(b"null")
_LENGTH = msgspec.Raw(b'"length"')


class Function(msgspec.Struct):
    """Name and arguments of a call, or what a chunk adds to them."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct):
    """A call, or what a chunk adds to one."""

    index: Annotated[int, msgspec.Meta(ge=0)] | None = None
    id: str | None = None
    function: Function | None = None


class Message(msgspec.Struct):
    """What the assistant said, or what a chunk adds to it."""

    content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None


class ResponseChoice(msgspec.Struct):
    """One choice of an answer or of a chunk, chat or completion."""

    index: int = 0
    message: Message | None = None
    delta: Message | None = None
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    token_ids: list[int] | None = None
    prompt_token_ids: msgspec.Raw = NULL

    def piece(self) -> Piece:
        """Return what an observer reads."""
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
    """What the engine counted."""

    completion_tokens: int = 0


class ResponseBody(msgspec.Struct):
    """An answer, as far as it is read."""

    choices: list[ResponseChoice] = []
    usage: Usage | None = None


_decode = msgspec.json.Decoder(ResponseBody).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


def observe(body: bytes, observer: Observer) -> None:
    """Let an observer read an answer.

    Raises:
        msgspec.MsgspecError: it is not an answer, as with what vLLM sends to a client that left.
    """
    response = _decode(body)
    for choice in response.choices:
        observer.add(choice.index, choice.piece())
    if response.usage is not None:
        observer.count(response.usage.completion_tokens)


def client_body(body: bytes, observer: Observer, *, accurate_finish: bool) -> tuple[bytes, bool]:
    """Return an answer without what only the gate had asked for, and whether its end was corrected.

    Args:
        body: the answer that the observer has read.
        observer: knows which of its generations were cut.
        accurate_finish: say `length` of a call that was cut, and of a loop that was stopped.
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
    """Return an answer, or a part of one, as a client gets it that did not ask for token ids."""
    return TOKEN_IDS.sub(_null, body)  # a template would take twice as long


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
