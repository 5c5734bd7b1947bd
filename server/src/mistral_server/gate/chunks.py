"""Decode the events of a stream, and the shape that most of them share. Pure.

Nearly all events of a stream have the same bytes around one text and its token ids. A shape is
learned from the first event. For events of that shape only these two values are decoded.
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
    """The fields of an event that the gate reads."""

    id: str = ""
    object: str = ""
    created: int = 0
    model: str = ""
    choices: list[ResponseChoice] = []
    prompt_token_ids: msgspec.Raw = NULL

    def head(self) -> "Chunk":
        """Return the fields that all events of a stream share."""
        return Chunk(self.id, self.object, self.created, self.model)


_decode = msgspec.json.Decoder(Chunk).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_ids = msgspec.json.Decoder(list[int]).decode


def read(event: bytes) -> Chunk:
    """Decode an event that begins with `DATA`.

    Raises:
        UNREADABLE: it is not an event of a response.
    """
    return _decode(event[len(DATA) :])


@dataclass(slots=True)  # not frozen: that makes construction three times slower
class Shape:
    """The bytes around the text and the token ids of an event, and its choice's index."""

    index: int
    head: bytes
    """Everything before the text, including its first quote."""
    middle: bytes
    """From the last quote of the text to the bracket before the ids."""
    tail: bytes
    """From the bracket after the ids to the end of the event."""
    without: bytes
    """What follows the text for a client that did not request token ids."""

    def read(self, event: bytes) -> tuple[str, list[int], bytes] | None:
        """Return text, ids, and the event without the ids, or None if the shape differs.

        One string and one list are decoded, so these bytes cannot contain anything else.
        """
        before, _, after = event.partition(self.middle)
        at, ids = len(before), after[: -len(self.tail)]
        if before[: len(self.head)] != self.head or after[len(ids) :] != self.tail:
            return None
        # Not a minus or a tab: TOKEN_IDS does not match such a list.
        if not (ids.isdigit() or ids.translate(None, b", ").isdigit()):
            return None
        try:
            text = _decode_text(event[len(self.head) - 1 : at + 1])
            token_ids = _decode_ids(event[at + len(self.middle) - 1 : 1 - len(self.tail)])
        except UNREADABLE:
            return None
        return text, token_ids, before + self.without


def shape_of(event: bytes, chunk: Chunk) -> Shape | None:
    """Return the shape of an event with one choice, or None if it has more than a text and its ids.

    The shape is verified by decoding other values in place of these two.
    """
    text, all_ids = _TEXT.search(event), list(TOKEN_IDS.finditer(event))
    if text is None or len(all_ids) != 1 or _LOGPROBS.search(event):
        return None  # with logprobs all events differ
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
    """Return whether an event of a shape decodes to exactly this text and these ids."""
    numbers = ",".join(map(str, ids)).encode()
    chunk = read(b"".join((shape.head, text.encode(), shape.middle, numbers, shape.tail)))
    return (
        [(one.index, one.piece()) for one in chunk.choices]
        == [(shape.index, Piece(text, ids, calls=[]))]
        and chunk.prompt_token_ids == NULL
        and chunk.choices[0].prompt_token_ids == NULL
    )
