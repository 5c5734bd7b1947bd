"""Observe the generations of one request: loops, tool calls and finish reasons. No I/O.

Reads what the client receives piece by piece, and returns the results at the end.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from mistral_server.contract import LoopSettings
from mistral_server.gate.loops import (
    CHARACTERS_PER_TOKEN,
    CounterLoopDetector,
    LoopDetector,
    LoopRule,
    as_symbols,
)
from mistral_server.gate.request import RequestOptions
from mistral_server.gate.tool_calls import (
    Call,
    Choice,
    RequestOutcome,
    ToolCallResult,
    evaluate_tool_calls,
    worst_outcome,
)

END_OF_SEQUENCE = 2
"""Id of `</s>` in every tokenizer of the family."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one choice, or all of it."""

    text: str = ""
    token_ids: Sequence[int] | None = None
    """None if the engine provides none."""
    calls: Sequence[tuple[int, Call]] = ()
    """Index of each call, and its delta."""
    finish_reason: str | None = None
    stop_reason: int | str | None = None


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """The result of one generation."""

    finish_reason: str
    """The actual reason: `length` for a truncated call whatever the engine reports, `repetition`
    for a stopped loop, `abort` for a client that disconnected."""
    loop: Literal["exact", "counter"] | None
    checked: bool
    """Whether a loop would have been found."""
    stopped: bool
    wasted_tokens: int


@dataclass(slots=True)
class _CallDeltas:
    """The deltas of one call, joined once, because a growing string is copied each time."""

    pieces: list[Call] = field(default_factory=list)

    def joined(self) -> Call:
        """Return the call as the client assembles it."""
        return Call(
            name="".join(one.name for one in self.pieces),
            arguments="".join(one.arguments for one in self.pieces),
            id=next((one.id for one in self.pieces if one.id), ""),
        )


@dataclass(slots=True)
class Generation:
    """One choice of a request while it is generated."""

    options: RequestOptions
    rule: LoopRule
    content: list[str] = field(default_factory=list)
    calls: list[_CallDeltas] = field(default_factory=list)
    tokens: int = 0
    """Tokens so far; 0 if only text is available."""
    finish_reason: str | None = None
    """As the engine reports it."""
    last_token: int | None = None
    stop_reason: int | str | None = None
    stopped: bool = False
    """Whether the gate stopped the generation because of a loop."""
    limit_reached: bool = False
    """Whether the engine counted as many tokens as the client's limit."""
    detector: LoopDetector | None = None
    counter: CounterLoopDetector = field(init=False)
    by_text: bool = False
    _pending_texts: list[str] = field(default_factory=list)
    """Text that is not read yet, like `_pending_ids`."""
    _pending_ids: list[int] = field(default_factory=list)
    _flush_at: int = 16
    """Number of pending ids at which they are read; any small number without loop detection."""

    def __post_init__(self) -> None:
        """Create the detector for text; the other one depends on what the engine provides."""
        self.counter = CounterLoopDetector(self.rule)

    def add(self, piece: Piece) -> None:
        """Read a piece."""
        self.flush()
        generated = piece.text
        for index, delta in piece.calls:
            self._add_call(index, delta)
            generated += delta.arguments
        self._read(piece.text, generated, piece.token_ids)
        self.finish_reason = piece.finish_reason or self.finish_reason
        self.stop_reason = self.stop_reason if piece.stop_reason is None else piece.stop_reason

    def add_text(self, text: str, token_ids: list[int]) -> bool:
        """Add a text and its ids; return whether `looping` may have changed.

        They stay pending until the detector's next check. Before it nothing can change, and reading
        sixteen at once takes as long as two.
        """
        self._pending_texts.append(text)
        self._pending_ids += token_ids
        if len(self._pending_ids) < self._flush_at:
            return False
        self.flush()
        return True

    def flush(self) -> None:
        """Read pending text and ids."""
        if self._pending_texts:
            text = "".join(self._pending_texts)
            self._read(text, text, self._pending_ids)
            self._pending_texts.clear()
            self._pending_ids.clear()

    @property
    def looping(self) -> bool:
        """Whether the generation is looping now."""
        return self.detector is not None and self.detector.looping

    def should_stop(self, settings: LoopSettings) -> bool:
        """Return whether the loop is long enough to stop the generation."""
        if self.detector is None or not self.detector.looping or self.detector.loop is None:
            return False
        loop = self.detector.loop
        scale = CHARACTERS_PER_TOKEN if self.by_text else 1
        return (
            loop.repetitions >= settings.stop_repeats
            and loop.repetitions * loop.period >= settings.stop_min_tokens * scale
        )

    @property
    def truncated(self) -> bool:
        """Whether the generation ended by a limit.

        vLLM reports `tool_calls` for a call that it truncated and completed, and 0.26 for one that
        it streams. Then only the last token shows it, or the number of tokens without token ids.
        """
        self.flush()
        if self.stopped or self.finish_reason in {None, "length", "repetition"}:
            return True
        return (
            self.finish_reason == "tool_calls"
            and self.stop_reason is None
            and not self.options.stops
            and (
                self.limit_reached
                if self.last_token is None
                else self.last_token != END_OF_SEQUENCE
            )
        )

    def result(self) -> GenerationResult:
        """Return the result."""
        self.flush()
        exact = self.detector is not None and self.detector.finish() is not None
        is_counter = not exact and self.options.loops != "Off" and self.counter.finish() is not None
        repetition = self.stopped or self.finish_reason == "repetition"
        wasted = self.detector.wasted if self.detector is not None else 0
        return GenerationResult(
            finish_reason=self._finish_reason(),
            loop="exact" if exact or repetition else "counter" if is_counter else None,
            checked=self.detector is not None or repetition,
            stopped=repetition,
            wasted_tokens=wasted // CHARACTERS_PER_TOKEN if self.by_text else wasted,
        )

    def _finish_reason(self) -> str:
        if self.stopped:
            return "repetition"
        if self.finish_reason == "tool_calls" and self.truncated:
            return "length"
        return self.finish_reason or "abort"

    def as_choice(self) -> Choice:
        """Return the choice as the client received it."""
        self.flush()
        return Choice("".join(self.content), [one.joined() for one in self.calls], self.truncated)

    def _add_call(self, index: int, delta: Call) -> None:
        if index >= len(self.calls):
            self.calls.append(_CallDeltas())
        self.calls[min(index, len(self.calls) - 1)].pieces.append(delta)

    def _read(self, text: str, generated: str, token_ids: Sequence[int] | None) -> None:
        if self.options.tools is not None:
            self.content.append(text)
        if token_ids:
            self.tokens += len(token_ids)
            self.last_token = token_ids[-1]
        if self.options.loops != "Off":
            self._detect_loops(generated, token_ids)

    def _detect_loops(self, generated: str, token_ids: Sequence[int] | None) -> None:
        if self.detector is None and (token_ids or generated):
            self.by_text = token_ids is None
            self.detector = LoopDetector(self.rule.for_text() if self.by_text else self.rule)
        if self.detector is not None:
            self.detector.feed(generated if self.by_text else _symbols(token_ids or ()))
            self._flush_at = 1 if self.by_text else self.detector.due
        self.counter.feed(generated)


def _symbols(token_ids: Sequence[int]) -> str:
    try:
        return as_symbols(token_ids)
    except (ValueError, OverflowError):
        # No vocabulary is that large, but an invalid id must not break the response.
        return as_symbols([one % (sys.maxunicode + 1) for one in token_ids])


class Observer:
    """All generations of one request."""

    def __init__(self, options: RequestOptions, settings: LoopSettings) -> None:
        self.options = options
        self.generations: dict[int, Generation] = {}
        self.changed = False
        """Whether `looping` or `should_stop` may have changed since this was reset."""
        self.prompt_tokens: int | None = None
        """As the engine reports them; None until then."""
        self._counted: int | None = None
        self._settings = settings
        self._rule = LoopRule(settings.repeats, settings.min_tokens)

    def add(self, index: int, piece: Piece) -> None:
        """Read a piece of one choice."""
        generation = self.generations.get(index)
        if generation is None:
            generation = self.generations[index] = Generation(self.options, self._rule)
        generation.add(piece)
        self.changed = True

    def add_text(self, index: int, text: str, token_ids: list[int]) -> None:
        """Add a text and its ids to a choice that has begun."""
        if self.generations[index].add_text(text, token_ids):
            self.changed = True

    @property
    def completion_tokens(self) -> int:
        """Tokens of all choices: as the engine counted them, or those that were read."""
        if self._counted is not None:
            return self._counted
        for generation in self.generations.values():
            generation.flush()
        return sum(one.tokens for one in self.generations.values())

    def count(self, completion_tokens: int, prompt_tokens: int) -> None:
        """Read the engine's token counts: of all choices, and of the prompt."""
        self._counted, self.prompt_tokens = completion_tokens, prompt_tokens
        limit = self.options.max_tokens
        limit_reached = limit is not None and completion_tokens >= limit * max(
            1, len(self.generations)
        )
        for generation in self.generations.values():
            generation.limit_reached = limit_reached

    @property
    def looping(self) -> bool:
        """Whether all running generations of this request are loops."""
        running = self._running()
        return bool(running) and all(one.looping for one in running.values())

    @property
    def should_stop(self) -> bool:
        """Whether every running generation is a loop that is long enough to stop."""
        running = self._running()
        return bool(running) and all(one.should_stop(self._settings) for one in running.values())

    def stop(self) -> list[int]:
        """Mark the running generations as stopped; return their indices."""
        running = self._running()
        for generation in self.generations.values():
            generation.flush()
        for generation in running.values():
            generation.stopped = True
        return list(running)

    def results(self) -> list[GenerationResult]:
        """Return the result of each generation."""
        return [generation.result() for generation in self.generations.values()]

    @property
    def judging_bytes(self) -> int:
        """Bytes of the arguments and of the schemas that they are judged by."""
        tools = self.options.tools
        calls = [call for one in self.generations.values() for call in one.calls]
        if tools is None or not calls:
            return 0
        pieces = (len(piece.arguments) for call in calls for piece in call.pieces)
        return sum(pieces) + sum(map(len, tools.schemas.values()))

    def tool_call_results(self) -> tuple[list[ToolCallResult], RequestOutcome] | None:
        """Return the results of the tool calls, or None if the request has no tools.

        An incomplete response of a disconnected client is not evaluated.
        """
        tools = self.options.tools
        ended = [one for one in self.generations.values() if one.finish_reason or one.stopped]
        if tools is None or not ended:
            return None
        results = evaluate_tool_calls(tools, (one.as_choice() for one in ended))
        return results, worst_outcome(results)

    def _running(self) -> dict[int, Generation]:
        return {at: one for at, one in self.generations.items() if one.finish_reason is None}
