"""Read a streamed answer event by event, and pass on what the client would have seen. Pure."""

from typing import Any

import msgspec

from mistral_server.gate.answer import NULL, TOKEN_IDS, AnswerChoice
from mistral_server.gate.observer import Observer

DONE = b"data: [DONE]\n\n"
_END = b"\n\n"
_DATA = b"data: "
_LENGTH = b'"finish_reason":"length"'


class Chunk(msgspec.Struct):
    """One event of a stream, as far as it is read."""

    id: str = ""
    object: str = ""
    created: int = 0
    model: str = ""
    choices: list[AnswerChoice] = []
    prompt_token_ids: msgspec.Raw = NULL


_decode = msgspec.json.Decoder(Chunk).decode


class Stream:
    """One streamed answer.

    Args:
        observer: reads along.
        honest: say `length` of a loop that the engine stopped, and of a call that it cut.
    """

    def __init__(self, observer: Observer, *, honest: bool) -> None:
        self._observer = observer
        self._honest = honest
        self._rest = b""
        self._last = Chunk()
        self._prompt_tokens = 0
        self.unread = 0
        """Events that could not be read, and passed as they were."""

    def feed(self, data: bytes) -> bytes:
        """Return what of the data the client gets; an event that is not complete waits."""
        *events, self._rest = (self._rest + data).split(_END)
        return b"".join(self._event(event) for event in events)

    def rest(self) -> bytes:
        """Return what waits when the stream ends."""
        rest, self._rest = self._rest, b""
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
        return b"".join(_DATA + msgspec.json.encode(head | one) + _END for one in events) + DONE

    def _event(self, event: bytes) -> bytes:
        if not event.startswith(_DATA + b"{"):
            return event + _END  # [DONE], comments that keep a connection alive
        try:
            chunk = _decode(event[len(_DATA) :])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.unread += 1
            return event + _END
        for choice in chunk.choices:
            self._observer.add(choice.index, choice.piece())
        if chunk.choices:
            self._last = chunk
        for ids in (chunk.prompt_token_ids, *(one.prompt_token_ids for one in chunk.choices)):
            if ids != NULL:
                self._prompt_tokens = bytes(ids).count(b",") + 1
        if not self._observer.asked.own_token_ids:
            if _says_nothing(chunk, event):
                return b""
            event = TOKEN_IDS.sub(rb'"\1":null', event)
        return (self._honest_end(chunk, event) if self._honest else event) + _END

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
