"""An event of a stream as it is read, and the shape that most events of one stream share. Pure.

Nearly all events of a stream are the same bytes around one text and its token ids. A shape is
learned from the first of them. An event that has it is read by decoding these two values.
"""

import re
from dataclasses import dataclass

import msgspec

from mistral_server.gate.observer import Piece
from mistral_server.gate.response import (
    NULL,
    TOKEN_IDS,
    UNREADABLE,
    ResponseChoice,
    without_token_ids,
)

END = b"\n\n"
DATA = b"data: "

_TEXT = re.compile(rb'"(?:content|reasoning|text)":\s?"((?:[^"\\]|\\.)*+)"')
_LOGPROBS = re.compile(rb'"logprobs":\s?[^n\s]')


class Chunk(msgspec.Struct):
    """One event of a stream, as far as it is read."""

    id: str = ""
    object: str = ""
    created: int = 0
    model: str = ""
    choices: list[ResponseChoice] = []
    prompt_token_ids: msgspec.Raw = NULL

    def head(self) -> "Chunk":
        """Return what all events of a stream have in common."""
        return Chunk(self.id, self.object, self.created, self.model)


_decode = msgspec.json.Decoder(Chunk).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_ids = msgspec.json.Decoder(list[int]).decode


def read(event: bytes) -> Chunk:
    """Return an event that begins with `DATA`, decoded.

    Raises:
        UNREADABLE: it is no event of an answer.
    """
    return _decode(event[len(DATA) :])


@dataclass(slots=True)  # not frozen: making it would take three times as long
class Shape:
    """The bytes around the text and the token ids of an event, and its choice's index."""

    index: int
    head: bytes
    """All before the text, its first quote included."""
    middle: bytes
    """From the last quote of the text to the bracket before the ids."""
    tail: bytes
    """From the bracket after the ids to the end of the event."""
    without: bytes
    """What follows the text for a client that did not ask for ids."""

    def read(self, event: bytes) -> tuple[str, list[int], bytes] | None:
        """Return text, ids, and the event without the ids; None of an event of another shape.

        What is decoded is one string and one list, so nothing else can be within these bytes.
        """
        before, _, after = event.partition(self.middle)
        at, ids = len(before), after[: -len(self.tail)]
        if before[: len(self.head)] != self.head or after[len(ids) :] != self.tail:
            return None
        # Not a minus or a tab: TOKEN_IDS leaves such a list where it is.
        if not (ids.isdigit() or ids.translate(None, b", ").isdigit()):
            return None
        try:
            text = _decode_text(event[len(self.head) - 1 : at + 1])
            token_ids = _decode_ids(event[at + len(self.middle) - 1 : 1 - len(self.tail)])
        except UNREADABLE:
            return None
        return text, token_ids, before + self.without


def shape_of(event: bytes, chunk: Chunk) -> Shape | None:
    """Return the shape of an event with one choice, None if it says more than a text and its ids.

    That these two are what is read of it is proven by reading others in their place.
    """
    text, all_ids = _TEXT.search(event), list(TOKEN_IDS.finditer(event))
    if text is None or len(all_ids) != 1 or _LOGPROBS.search(event):
        return None  # with logprobs no two events are alike
    ids = all_ids[0]
    if ids.start() < text.end():
        return None
    shape = Shape(
        index=chunk.choices[0].index,
        head=event[: text.start(1)],
        middle=event[text.end(1) : event.index(b"[", ids.start()) + 1],
        tail=event[ids.end() - 1 :] + END,
        without=without_token_ids(event[text.end(1) :]) + END,
    )
    verified = _decodes_to(shape, "", [0]) and _decodes_to(shape, "text", [1, 2])
    return shape if verified else None


def _decodes_to(shape: Shape, text: str, ids: list[int]) -> bool:
    """Tell whether an event of a shape says this text and these ids, and nothing else."""
    numbers = ",".join(map(str, ids)).encode()
    chunk = read(b"".join((shape.head, text.encode(), shape.middle, numbers, shape.tail)))
    return (
        [(one.index, one.piece()) for one in chunk.choices]
        == [(shape.index, Piece(text, ids, calls=[]))]
        and chunk.prompt_token_ids == NULL
        and chunk.choices[0].prompt_token_ids == NULL
    )
