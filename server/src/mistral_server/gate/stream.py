"""Read a streamed answer event by event, and pass on what the client would have seen. Pure."""

from typing import Any

import msgspec

from mistral_server.gate import chunks
from mistral_server.gate.chunks import DATA, END, Chunk, Shape
from mistral_server.gate.observer import Observer
from mistral_server.gate.response import NULL, UNREADABLE, without_token_ids

DONE = b"data: [DONE]\n\n"
_OTHER_END = b"\r\n\r\n"
_LENGTH = b'"finish_reason":"length"'

MISSES = 16
"""Events in a row of no known shape after which the shapes are not worth trying any more."""


class Stream:
    """One streamed answer.

    Args:
        observer: reads along.
        honest: say `length` of a loop that the engine stopped, and of a call that it cut.
        lessons: how many events the shapes of the ordinary ones are learned from. A stream has one,
            with reasoning or several choices a few; where there are more, they are not worth it.
    """

    def __init__(self, observer: Observer, *, honest: bool, lessons: int = 4) -> None:
        self._observer = observer
        self._honest = honest
        self._lessons = lessons
        self._shapes: list[tuple[Shape, Chunk]] = []
        self._misses = 0
        self._rest = b""
        self._last = Chunk()
        self._prompt_tokens = 0
        self.unread = 0
        """Events that could not be read, and passed as they were."""

    def feed(self, data: bytes) -> bytes:
        """Return what of the data the client gets; an event that is not complete waits."""
        passed = None if self._rest else self._ordinary(data)
        if passed is not None:
            return passed
        *events, self._rest = (self._rest + data).split(END)
        passed = b"".join(self._event(event) for event in events)
        # JSON escapes line ends, so this one ends an event in a way that vLLM does not.
        return passed + self.rest() if _OTHER_END in self._rest else passed

    def rest(self) -> bytes:
        """Return what waits, when the stream ends: as it came."""
        rest, self._rest = self._rest, b""
        self.unread += bool(rest)
        return rest

    def ending(self) -> bytes:
        """Return the end of a stream whose loop the gate stops: as if its limit had been reached.

        The truth stands where vLLM itself puts it, in `stop_reason`.
        """
        choices: list[dict[str, Any]] = [
            {
                "index": index,
                "finish_reason": "length" if self._honest else "repetition",
                "stop_reason": "repetition_detected",
                "logprobs": None,
                **({"delta": {}} if self._observer.asked.chat else {"text": ""}),
            }
            for index in self._observer.stop()
        ]
        events: list[dict[str, Any]] = [{"choices": choices}]
        if self._observer.asked.usage:
            said = sum(one.tokens for one in self._observer.generations.values())
            usage = {
                "prompt_tokens": self._prompt_tokens,
                "completion_tokens": said,
                "total_tokens": self._prompt_tokens + said,
            }
            events.append({"choices": [], "usage": usage})
        head = {name: getattr(self._last, name) for name in ("id", "object", "created", "model")}
        return b"".join(DATA + msgspec.json.encode(head | one) + END for one in events) + DONE

    def _ordinary(self, data: bytes) -> bytes | None:
        """Do what `_event` does with an event of a known shape; None of another."""
        for shape, chunk in self._shapes:
            read = shape.read(data)
            if read is not None:
                text, ids, without_ids = read
                self._misses = 0
                self._last = chunk
                self._observer.say(shape.index, text, ids)
                return data if self._observer.asked.own_token_ids else without_ids
        self._misses += 1
        if self._misses >= MISSES:
            self._shapes.clear()
        return None

    def _learn(self, event: bytes, chunk: Chunk) -> None:
        self._lessons -= 1
        try:
            shape = chunks.shape_of(event, chunk)
        except UNREADABLE:  # just not too deep to be read, and too deep to be read from here
            return
        if shape is not None and all(shape != known for known, _ in self._shapes):
            self._misses = 0
            self._shapes.append((shape, chunk.head()))

    def _event(self, event: bytes) -> bytes:
        if not event.startswith(DATA + b"{"):
            return event + END  # [DONE], comments that keep a connection alive
        try:
            chunk = chunks.read(event)
        except UNREADABLE:
            self.unread += 1
            return event + END
        pieces = [choice.piece() for choice in chunk.choices]
        for choice, piece in zip(chunk.choices, pieces, strict=True):
            self._observer.add(choice.index, piece)
        if chunk.choices:
            self._last = chunk
        for ids in (chunk.prompt_token_ids, *(one.prompt_token_ids for one in chunk.choices)):
            if ids != NULL:
                self._prompt_tokens = bytes(ids).count(b",") + 1
        if not self._observer.asked.own_token_ids and _says_nothing(chunk, event):
            return b""
        if self._lessons and len(pieces) == 1 and pieces[0].text and pieces[0].token_ids:
            self._learn(event, chunk)
        if not self._observer.asked.own_token_ids:
            event = without_token_ids(event)
        return (self._honest_end(chunk, event) if self._honest else event) + END

    def _honest_end(self, chunk: Chunk, event: bytes) -> bytes:
        """Say `length` of a loop that was stopped and of a call that was cut."""
        wrong = {
            one.finish_reason
            for one in chunk.choices
            if one.finish_reason in {"repetition", "tool_calls"}
            and self._observer.generations[one.index].cut
        }
        for reason in wrong:
            event = event.replace(b'"finish_reason":"%b"' % reason.encode(), _LENGTH)
        return event


def _says_nothing(chunk: Chunk, event: bytes) -> bool:
    """Tell whether vLLM sends this chunk only because token ids were asked for.

    It does for tokens whose text the parser of tool calls holds back.
    """
    return (
        bool(chunk.choices)
        and all(
            choice.delta is not None and choice.finish_reason is None for choice in chunk.choices
        )
        and event.count(b'"delta":{}') == len(chunk.choices)
        and event.count(b'"logprobs":') == event.count(b'"logprobs":null')
    )
