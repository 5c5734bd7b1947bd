"""Watch one request's generations: loops, tool calls, how they end. Pure but for its own memory.

It is told what the client received, piece by piece, and says at the end what it saw.
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
    """None where the engine gives none."""
    calls: Sequence[tuple[int, Call]] = ()
    """Index and what is added to the call."""
    finish_reason: str | None = None
    stop_reason: int | str | None = None


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """What became of one generation."""

    finish_reason: str
    """The truth: `length` for a call that was cut whatever the engine says, `repetition` for a loop
    that was stopped, `abort` for a client that left."""
    loop: Literal["exact", "counter"] | None
    stopped: bool
    wasted_tokens: int


@dataclass(slots=True)
class _CallDeltas:
    """The deltas of one call; joined once, since strings that grow are copied each time."""

    pieces: list[Call] = field(default_factory=list)

    def joined(self) -> Call:
        """Return the call as the client put it together."""
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
    """Tokens so far; 0 where only text is known."""
    finish_reason: str | None = None
    """As the engine says it."""
    last_token: int | None = None
    stop_reason: int | str | None = None
    stopped: bool = False
    """The gate ended it for looping."""
    limit_reached: bool = False
    """The engine counted as many tokens as the caller allows."""
    detector: LoopDetector | None = None
    counter: CounterLoopDetector = field(init=False)
    by_text: bool = False
    _pending_texts: list[str] = field(default_factory=list)
    """Taken, but not read yet; so are the ids."""
    _pending_ids: list[int] = field(default_factory=list)
    _flush_at: int = 16
    """With so many ids they are read; any small number where no loop is looked for."""

    def __post_init__(self) -> None:
        """Start the detector that reads text; the other one waits for what the engine gives."""
        self.counter = CounterLoopDetector(self.rule)

    def add(self, piece: Piece) -> None:
        """Read on."""
        self.flush()
        generated = piece.text
        for index, delta in piece.calls:
            self._add_call(index, delta)
            generated += delta.arguments
        self._read(piece.text, generated, piece.token_ids)
        self.finish_reason = piece.finish_reason or self.finish_reason
        self.stop_reason = self.stop_reason if piece.stop_reason is None else piece.stop_reason

    def add_text(self, text: str, token_ids: list[int]) -> bool:
        """Take a text and its ids, and nothing else; tell whether `looping` may have changed.

        They wait for the token at which the detector looks again. Before it nothing can change, and
        sixteen are read in the time of two.
        """
        self._pending_texts.append(text)
        self._pending_ids += token_ids
        if len(self._pending_ids) < self._flush_at:
            return False
        self.flush()
        return True

    def flush(self) -> None:
        """Read what was taken."""
        if self._pending_texts:
            text = "".join(self._pending_texts)
            self._read(text, text, self._pending_ids)
            self._pending_texts.clear()
            self._pending_ids.clear()

    @property
    def looping(self) -> bool:
        """It repeats itself now."""
        return self.detector is not None and self.detector.looping

    def should_stop(self, settings: LoopSettings) -> bool:
        """Tell whether it has repeated itself for so long that it is to be ended."""
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
        """The generation ended by a limit.

        vLLM says `tool_calls` of a call that it cut and completed, and 0.26 of one that it streams;
        then only the last token tells, or the number of tokens where no token is known.
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
        """Return what became of it."""
        self.flush()
        exact = self.detector is not None and self.detector.finish() is not None
        is_counter = not exact and self.options.loops != "Off" and self.counter.finish() is not None
        repetition = self.stopped or self.finish_reason == "repetition"
        wasted = self.detector.wasted if self.detector is not None else 0
        return GenerationResult(
            finish_reason=self._finish_reason(),
            loop="exact" if exact or repetition else "counter" if is_counter else None,
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
        """Return what the client received."""
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
        # No vocabulary is that large; but an answer does not end because of what its engine counts.
        return as_symbols([one % (sys.maxunicode + 1) for one in token_ids])


class Observer:
    """All generations of one request."""

    def __init__(self, options: RequestOptions, settings: LoopSettings) -> None:
        self.options = options
        self.generations: dict[int, Generation] = {}
        self.changed = False
        """`looping` and `should_stop` may have changed since this was last made false."""
        self._settings = settings
        self._rule = LoopRule(settings.repeats, settings.min_tokens)

    def add(self, index: int, piece: Piece) -> None:
        """Read on in one choice."""
        generation = self.generations.get(index)
        if generation is None:
            generation = self.generations[index] = Generation(self.options, self._rule)
        generation.add(piece)
        self.changed = True

    def add_text(self, index: int, text: str, token_ids: list[int]) -> None:
        """Read on in a choice that has begun."""
        if self.generations[index].add_text(text, token_ids):
            self.changed = True

    def count(self, completion_tokens: int) -> None:
        """Take the engine's count of the tokens of all choices."""
        limit = self.options.max_tokens
        limit_reached = limit is not None and completion_tokens >= limit * max(
            1, len(self.generations)
        )
        for generation in self.generations.values():
            generation.limit_reached = limit_reached

    @property
    def looping(self) -> bool:
        """Nothing but loops is being generated for this request."""
        running = self._running()
        return bool(running) and all(one.looping for one in running.values())

    @property
    def should_stop(self) -> bool:
        """Every generation that still runs is a loop to be ended."""
        running = self._running()
        return bool(running) and all(one.should_stop(self._settings) for one in running.values())

    def stop(self) -> list[int]:
        """Note that the gate ends what still runs; return the choices."""
        running = self._running()
        for generation in self.generations.values():
            generation.flush()
        for generation in running.values():
            generation.stopped = True
        return list(running)

    def results(self) -> list[GenerationResult]:
        """Return what became of each generation."""
        return [generation.result() for generation in self.generations.values()]

    def tool_call_results(self) -> tuple[list[ToolCallResult], RequestOutcome] | None:
        """Return what became of the tool calls, or None of a request that offered no tools.

        Nobody waits any more for an answer whose client left: it is not judged.
        """
        tools = self.options.tools
        ended = [one for one in self.generations.values() if one.finish_reason or one.stopped]
        if tools is None or not ended:
            return None
        results = evaluate_tool_calls(tools, (one.as_choice() for one in ended))
        return results, worst_outcome(results)

    def _running(self) -> dict[int, Generation]:
        return {at: one for at, one in self.generations.items() if one.finish_reason is None}
