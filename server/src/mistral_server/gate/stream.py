"""Read a streamed response event by event, and remove what only the gate requested. Pure."""

from typing import Any

import msgspec

from mistral_server.gate import chunks
from mistral_server.gate.chunks import DATA, END, Chunk, Shape
from mistral_server.gate.engine_error_rules import ClientRequest
from mistral_server.gate.engine_errors import EngineError, translated_event
from mistral_server.gate.observer import Observer
from mistral_server.gate.response import NULL, UNREADABLE, without_token_ids

DONE = b"data: [DONE]\n\n"
_OTHER_END = b"\r\n\r\n"
_ERROR = DATA + b'{"error":'
_LENGTH = b'"finish_reason":"length"'

MISSES = 16
"""Consecutive events without a matching shape after which the shapes are dropped."""


class Stream:
    """One streamed response.

    Args:
        observer: reads all pieces.
        accurate_finish: report `length` for a stopped loop and for a truncated call.
        request: the request.
        learn_limit: maximum number of events that shapes are learned from. A stream has one shape,
            or a few with reasoning or several choices; more are not worth the search.
    """

    def __init__(
        self,
        observer: Observer,
        *,
        accurate_finish: bool,
        request: ClientRequest | None = None,
        learn_limit: int = 4,
    ) -> None:
        self._question = request or ClientRequest("POST", "", "")
        self._observer = observer
        self._accurate_finish = accurate_finish
        self._lessons_left = learn_limit
        self._shapes: list[tuple[Shape, Chunk]] = []
        self._misses = 0
        self._buffer = b""
        self._last = Chunk()
        self._prompt_tokens = 0
        self.failed = False
        """Whether the engine reported an error of its own."""
        self.unreadable = 0
        """Number of events that could not be read and were forwarded unchanged."""
        self.failure: EngineError | None = None
        """First failure of the server within the stream, whose cause the client does not see."""

    def feed(self, data: bytes) -> bytes:
        """Return the data for the client; an incomplete event is buffered."""
        output = None if self._buffer else self._read_by_shape(data)
        if output is not None:
            return output
        *events, self._buffer = (self._buffer + data).split(END)
        output = b"".join(self._read_event(event) for event in events)
        # JSON escapes line ends, so this is the end of an event, in a style that vLLM does not use.
        return output + self.flush() if _OTHER_END in self._buffer else output

    def flush(self) -> bytes:
        """Return the buffered data unchanged when the stream ends."""
        rest, self._buffer = self._buffer, b""
        self.unreadable += bool(rest)
        return rest

    def final_events(self) -> bytes:
        """Return the last events of a stream that the gate stops because of a loop.

        They look as if the token limit was reached. The actual reason is in `stop_reason`, as in
        vLLM.
        """
        choices: list[dict[str, Any]] = [
            {
                "index": index,
                "finish_reason": "length" if self._accurate_finish else "repetition",
                "stop_reason": "repetition_detected",
                "logprobs": None,
                **({"delta": {}} if self._observer.options.chat else {"text": ""}),
            }
            for index in self._observer.stop()
        ]
        events: list[dict[str, Any]] = [{"choices": choices}]
        if self._observer.options.usage:
            completion_tokens = sum(one.tokens for one in self._observer.generations.values())
            usage = {
                "prompt_tokens": self._prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": self._prompt_tokens + completion_tokens,
            }
            events.append({"choices": [], "usage": usage})
        head = {name: getattr(self._last, name) for name in ("id", "object", "created", "model")}
        return b"".join(DATA + msgspec.json.encode(head | one) + END for one in events) + DONE

    def _read_by_shape(self, data: bytes) -> bytes | None:
        """Like `_read_event`, for an event of a learned shape; return None for others."""
        for shape, chunk in self._shapes:
            read = shape.read(data)
            if read is not None:
                text, ids, without_ids = read
                self._misses = 0
                self._last = chunk
                self._observer.add_text(shape.index, text, ids)
                return data if self._observer.options.own_token_ids else without_ids
        self._misses += 1
        if self._misses >= MISSES:
            self._shapes.clear()
        return None

    def _learn(self, event: bytes, chunk: Chunk) -> None:
        self._lessons_left -= 1
        try:
            shape = chunks.shape_of(event, chunk)
        except UNREADABLE:  # nested too deeply to be decoded at this stack depth
            return
        if shape is not None and all(shape != other for other, _ in self._shapes):
            self._misses = 0
            self._shapes.append((shape, chunk.head()))

    def _read_event(self, event: bytes) -> bytes:
        if not event.startswith(DATA + b"{"):
            return event + END  # [DONE], keep-alive comments
        try:
            chunk = chunks.read(event)
        except UNREADABLE:
            self.unreadable += 1
            return event + END
        if event.startswith(_ERROR):
            return self._read_error(event)
        pieces = [choice.piece() for choice in chunk.choices]
        for choice, piece in zip(chunk.choices, pieces, strict=True):
            self._observer.add(choice.index, piece)
        if chunk.choices:
            self._last = chunk
        for ids in (chunk.prompt_token_ids, *(one.prompt_token_ids for one in chunk.choices)):
            if ids != NULL:
                self._prompt_tokens = bytes(ids).count(b",") + 1
                self._observer.prompt_tokens = self._prompt_tokens
        if not self._observer.options.own_token_ids and _is_empty(chunk, event):
            return b""
        if self._lessons_left and len(pieces) == 1 and pieces[0].text and pieces[0].token_ids:
            self._learn(event, chunk)
        if not self._observer.options.own_token_ids:
            event = without_token_ids(event)
        return (self._with_accurate_finish(chunk, event) if self._accurate_finish else event) + END

    def _read_error(self, event: bytes) -> bytes:
        error = translated_event(event[len(DATA) :], self._question)
        self.failed = self.failed or error is None or error.status >= 500
        if error is None:
            return event + END
        if error.hidden and self.failure is None:
            self.failure = error
        return DATA + error.body() + END

    def _with_accurate_finish(self, chunk: Chunk, event: bytes) -> bytes:
        """Report `length` for a stopped loop and a truncated call."""
        misreported = {
            one.finish_reason
            for one in chunk.choices
            if one.finish_reason in {"repetition", "tool_calls"}
            and self._observer.generations[one.index].truncated
        }
        for reason in misreported:
            event = event.replace(b'"finish_reason":"%b"' % reason.encode(), _LENGTH)
        return event


def _is_empty(chunk: Chunk, event: bytes) -> bool:
    """Return whether vLLM sends this chunk only because token ids were requested.

    It does so for tokens whose text the tool call parser holds back.
    """
    return (
        bool(chunk.choices)
        and all(
            choice.delta is not None and choice.finish_reason is None for choice in chunk.choices
        )
        and event.count(b'"delta":{}') == len(chunk.choices)
        and event.count(b'"logprobs":') == event.count(b'"logprobs":null')
    )
