"""One observed request: forward the application's messages to the client, and count the result.

No failure here may break a response: what cannot be read is forwarded unchanged and counted.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable

from mistral_server.contract import GateSettings
from mistral_server.gate import metrics, response
from mistral_server.gate.asgi import Headers, Message, Replay, Send, with_length
from mistral_server.gate.engine_error_rules import ClientRequest
from mistral_server.gate.observer import Observer
from mistral_server.gate.request import RequestOptions
from mistral_server.gate.request_log import Generated
from mistral_server.gate.stream import Stream

FINISH_HEADER = b"x-mistral-finish-reason"
"""Header with the actual finish reasons where the body has `length`."""

_JUDGED_AT_ONCE = 16 * 1024
"""Bytes of arguments and schemas that are judged on the event loop, in about a millisecond."""

_log = logging.getLogger(__name__)


class Exchange:
    """Forwards the response of one request. Pass its `send` to the application.

    Args:
        options: the request's options.
        settings: the gate's settings.
        replay: aborts the application when a generation is stopped.
        send: sends to the client.
        request: the request, for errors within a stream.
    """

    def __init__(
        self,
        options: RequestOptions,
        settings: GateSettings,
        replay: Replay,
        send: Send,
        request: ClientRequest,
    ) -> None:
        self._question = request
        self._settings = settings
        self._replay = replay
        self._send = send
        self._observer = Observer(options, settings.loops)
        self._start: Message = {}
        self._parts: list[bytes] = []
        self._stream: Stream | None = None
        self._passthrough = False
        self._finished = False
        self._looping = False
        self._generated = Generated()
        self._in_flight(+1)

    def send(self, message: Message) -> Awaitable[None]:
        """Forward a message of the application.

        Not a coroutine: an unchanged chunk then needs only the server's own coroutine.
        """
        if self._finished:
            return _no_op()  # aborted, but the application still sends
        if message["type"] == "http.response.start":
            return self._on_start(message)
        if message["type"] != "http.response.body" or self._passthrough:
            return self._send(message)
        if self._stream is None:
            return self._on_body(message)
        if self._generated.first_at is None:
            self._generated.first_at = time.monotonic()
        data = self._stream.feed(bytes(message.get("body", b"")))  # Starlette allows memoryviews
        if (
            data
            and message.get("more_body")
            and not (self._observer.changed or self._stream.unreadable)
        ):
            return self._send({**message, "body": data})
        return self._forward(self._stream, data, message)

    async def close(self) -> Generated:
        """Count and return the result. Call it when the application has returned."""
        self._in_flight(-1)
        failure = None if self._stream is None else self._stream.failure
        if failure is not None:
            request_id = self._question.request_id
            _log.error(
                "Request %s failed with status %d: %s", request_id, failure.status, failure.hidden
            )
        if self._passthrough:
            return self._generated  # an error, which vLLM counts
        self._generated.failed = self._stream is not None and self._stream.failed
        try:
            self._count()
            await self._count_tool_calls()
        except Exception:
            _log.exception("Cannot count a request")
            metrics.ERRORS.labels("answer").inc()
        return self._generated

    async def _on_start(self, start: Message) -> None:
        content_type = next(
            (value for name, value in start["headers"] if name.lower() == b"content-type"), b""
        )
        self._passthrough = start["status"] >= 400
        if content_type.startswith(b"text/event-stream"):
            self._stream = Stream(
                self._observer,
                accurate_finish=self._settings.honest_finish,
                request=self._question,
            )
        if self._passthrough or self._stream is not None:
            await self._send(start)
        else:
            self._start = start  # sent with the body, whose length is needed

    async def _on_body(self, message: Message) -> None:
        self._parts.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        body, start = b"".join(self._parts), self._start
        headers: Headers = list(start["headers"])
        try:
            response.observe(body, self._observer)
            body, corrected = response.client_body(
                body, self._observer, accurate_finish=self._settings.honest_finish
            )
        except response.UNREADABLE:
            if not self._replay.disconnected:  # vLLM sends `null` to a disconnected client
                metrics.ERRORS.labels("answer").inc()
        else:
            reasons = self._finish_reasons() if corrected else b""
            more = [(FINISH_HEADER, reasons)] if reasons else []
            headers = with_length(headers, len(body), *more)
            if corrected:
                metrics.CHANGES.labels("finish_reason").inc()
        self._finished = True
        await self._send({**start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def _forward(self, stream: Stream, data: bytes, message: Message) -> None:
        more = message.get("more_body", False)
        if not more:
            data += stream.flush()
        if stream.unreadable:
            metrics.ERRORS.labels("stream").inc(stream.unreadable)
            stream.unreadable = 0
        if self._observer.changed:
            self._observer.changed = False
            self._update_in_flight()
            if more and self._observer.options.loops == "Stop" and self._observer.should_stop:
                data += stream.final_events()
                more = False
                self._finished = True
                metrics.CHANGES.labels("stream_ended").inc()
        if data or not more:
            await self._send({**message, "body": data, "more_body": more})
        if self._finished:
            self._replay.abort()
        self._finished = self._finished or not more

    def _update_in_flight(self) -> None:
        looping = self._observer.looping
        if looping is not self._looping:
            self._in_flight(-1)
            self._looping = looping
            self._in_flight(+1)

    def _in_flight(self, change: int) -> None:
        metrics.IN_FLIGHT.labels("looping" if self._looping else "productive").inc(change)

    def _finish_reasons(self) -> bytes:
        """Return the actual finish reason of each choice, in order."""
        results = self._observer.results()
        return ",".join(one.finish_reason for one in results).encode()

    def _count(self) -> None:
        observer = self._observer
        for result in observer.results():
            is_label = result.finish_reason in metrics.FINISH_REASONS
            finish = result.finish_reason if is_label else "other"
            metrics.GENERATIONS.labels(finish).inc()
            self._generated.add(finish, result.loop)
            if not result.checked:
                metrics.UNCHECKED.inc()
            if result.loop is not None:
                action = "stopped" if result.stopped else "observed"
                metrics.LOOPS.labels(result.loop, action).inc()
            metrics.LOOP_TOKENS.inc(result.wasted_tokens)
        if not observer.generations and self._replay.disconnected:
            metrics.GENERATIONS.labels("abort").inc()
            metrics.UNCHECKED.inc()
            self._generated.add("abort", None)
        if observer.prompt_tokens is not None:
            self._generated.prompt_tokens = observer.prompt_tokens
            self._generated.completion_tokens = observer.completion_tokens

    async def _count_tool_calls(self) -> None:
        observer = self._observer
        if observer.judging_bytes > _JUDGED_AT_ONCE:
            # The event loop serves all clients meanwhile. The client has its response already.
            evaluated = await asyncio.to_thread(observer.tool_call_results)
        else:
            evaluated = observer.tool_call_results()
        if evaluated is None:
            return
        calls, outcome = evaluated
        for call in calls:
            streamed = "true" if observer.options.stream else "false"
            metrics.TOOL_CALLS.labels(call.outcome.value, streamed).inc()
        metrics.TOOL_REQUESTS.labels(outcome.value).inc()
        self._generated.tools = outcome.value


async def _no_op() -> None:
    return
