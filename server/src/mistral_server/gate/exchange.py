"""One observed request: what the application sends on its way to the client, and what it was.

Nothing here may break an answer: what cannot be read passes as it came, and is counted.
"""

import logging
from collections.abc import Awaitable

from mistral_server.contract import GateSettings
from mistral_server.gate import metrics, response
from mistral_server.gate.asgi import Headers, Message, Replay, Send, with_length
from mistral_server.gate.observer import Observer
from mistral_server.gate.request import Asked
from mistral_server.gate.stream import Stream

FINISH_HEADER = b"x-mistral-finish-reason"
"""Tells the truth where the body says `length`."""

_log = logging.getLogger(__name__)


class Exchange:
    """What is sent for one request. Use `send` in the application's place of `send`.

    Args:
        asked: what the request asks for.
        settings: the gate's.
        replay: to hang up on an application whose generation is ended.
        send: to the client.
    """

    def __init__(self, asked: Asked, settings: GateSettings, replay: Replay, send: Send) -> None:
        self._settings = settings
        self._replay = replay
        self._send = send
        self._observer = Observer(asked, settings.loops)
        self._start: Message = {}
        self._parts: list[bytes] = []
        self._stream: Stream | None = None
        self._untouched = False
        self._over = False
        self._looping = False
        self._in_flight(+1)

    def send(self, message: Message) -> Awaitable[None]:
        """Take a message of the application's.

        Not a coroutine itself: of a chunk that changes nothing, the server's own is the only one.
        """
        if self._over:
            return _nothing()  # it was hung up on, and has not noticed yet
        if message["type"] == "http.response.start":
            return self._begin(message)
        if message["type"] != "http.response.body" or self._untouched:
            return self._send(message)
        if self._stream is None:
            return self._collect(message)
        data = self._stream.feed(bytes(message.get("body", b"")))  # Starlette allows memoryviews
        if (
            data
            and message.get("more_body")
            and not (self._observer.changed or self._stream.unread)
        ):
            return self._send({**message, "body": data})
        return self._pass_on(self._stream, data, message)

    def close(self) -> None:
        """Count what the request was; call it once the application is done."""
        self._in_flight(-1)
        if self._untouched:
            return  # an error; vLLM counts those
        try:
            self._count()
        except Exception:
            _log.exception("Cannot count a request")
            metrics.ERRORS.labels("answer").inc()

    async def _begin(self, start: Message) -> None:
        content_type = next(
            (value for name, value in start["headers"] if name.lower() == b"content-type"), b""
        )
        self._untouched = start["status"] >= 400
        if content_type.startswith(b"text/event-stream"):
            self._stream = Stream(self._observer, honest=self._settings.honest_finish)
        if self._untouched or self._stream is not None:
            await self._send(start)
        else:
            self._start = start  # its length is not known before the body is

    async def _collect(self, message: Message) -> None:
        self._parts.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        body, start = b"".join(self._parts), self._start
        headers: Headers = list(start["headers"])
        try:
            response.read(body, self._observer)
            body, corrected = response.for_client(
                body, self._observer, honest=self._settings.honest_finish
            )
        except response.UNREADABLE:
            if not self._replay.disconnected:  # vLLM sends `null` to a client that left
                metrics.ERRORS.labels("answer").inc()
        else:
            truth = self._truth() if corrected else b""
            more = [(FINISH_HEADER, truth)] if truth else []
            headers = with_length(headers, len(body), *more)
            if corrected:
                metrics.CHANGES.labels("finish_reason").inc()
        self._over = True
        await self._send({**start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def _pass_on(self, stream: Stream, data: bytes, message: Message) -> None:
        more = message.get("more_body", False)
        if not more:
            data += stream.rest()
        if stream.unread:
            metrics.ERRORS.labels("stream").inc(stream.unread)
            stream.unread = 0
        if self._observer.changed:
            self._observer.changed = False
            self._note_looping()
            if more and self._observer.asked.loops == "Stop" and self._observer.must_stop:
                data += stream.ending()
                more = False
                self._over = True
                metrics.CHANGES.labels("stream_ended").inc()
        if data or not more:
            await self._send({**message, "body": data, "more_body": more})
        if self._over:
            self._replay.hang_up()
        self._over = self._over or not more

    def _note_looping(self) -> None:
        looping = self._observer.looping
        if looping is not self._looping:
            self._in_flight(-1)
            self._looping = looping
            self._in_flight(+1)

    def _in_flight(self, change: int) -> None:
        metrics.IN_FLIGHT.labels("looping" if self._looping else "productive").inc(change)

    def _truth(self) -> bytes:
        """Return how each choice really ended, in their order."""
        seen = self._observer.end()
        return ",".join(one.finish_reason for one in seen).encode()

    def _count(self) -> None:
        observer = self._observer
        for seen in observer.end():
            known = seen.finish_reason in metrics.FINISH_REASONS
            metrics.GENERATIONS.labels(seen.finish_reason if known else "other").inc()
            if seen.loop is not None:
                action = "stopped" if seen.stopped else "observed"
                metrics.LOOPS.labels(seen.loop, action).inc()
            metrics.LOOP_TOKENS.inc(seen.wasted_tokens)
        if not observer.generations and self._replay.disconnected:
            metrics.GENERATIONS.labels("abort").inc()
        judged = observer.judged()
        if judged is None:
            return
        calls, outcome = judged
        for call in calls:
            streamed = "true" if observer.asked.stream else "false"
            metrics.TOOL_CALLS.labels(call.outcome.value, streamed).inc()
        metrics.TOOL_REQUESTS.labels(outcome.value).inc()


async def _nothing() -> None:
    return
