"""Find generations that repeat for ever, while they are generated. Pure.

A generation loops when its tail is one piece of text repeated: `repeats` times at least, and
`min_tokens` tokens long at least. The detector reads symbols, one character each: the characters of
a text, or token ids through `as_symbols`. So Python's own string search, which runs in C, does the
work, and a token costs a fraction of a microsecond.

It follows one candidate period: as long as the tail equals what stood that much earlier, a slice
comparison every few tokens is all. When it ends, the most recent occurrence of the longest known
tail gives the next candidate. The looks are timed so that none comes later than the token with
which the rule first holds.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

CHARACTERS_PER_TOKEN = 4
"""Where only text is known, a token counts as four characters, as English has them."""

_STEP = 16
_CONTEXTS = (8, 32, 128, 512)
"""Lengths of tail that are looked for; several, since units repeat parts of themselves."""


@dataclass(frozen=True, slots=True)
class LoopRule:
    """When a generation counts as looping.

    The defaults are those of the design: no false alarm on 1,242 pieces of human text and code with
    up to 2,048 tokens each, where four copies of any length gave 6 to 33 %.
    """

    repeats: int = 4
    """Copies of the repeated piece that the tail must hold."""
    min_tokens: int = 256
    """Tokens that the copies must have together."""
    max_period: int = 1024
    """Tokens of the longest piece that is looked for."""
    scale: int = 1
    """Symbols of a token: 1 for token ids."""

    def required_length(self, period: int) -> int:
        """Return how many symbols the tail must have for a period of so many symbols."""
        return max(self.repeats * period, self.min_tokens * self.scale)

    def for_text(self) -> "LoopRule":
        """Return the same rule for characters instead of token ids."""
        return replace(self, scale=CHARACTERS_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop, in symbols."""

    period: int
    """Length of the repeated piece."""
    repetitions: int
    """Whole copies so far."""
    onset: int
    """Index of the first symbol of the first copy."""


class LoopDetector:
    """Reads one generation.

    Time is constant for a symbol, memory bounded: the last `repeats` longest periods, twice.
    """

    __slots__ = (
        *("_contexts", "_match", "_max_period", "_pending", "_period", "_position", "_rule"),
        *("_step", "_tail", "_window", "due", "loop", "looping", "wasted"),
    )

    def __init__(self, rule: LoopRule = LoopRule()) -> None:
        self._rule = rule
        self._step = _STEP * rule.scale
        self._contexts = [length * rule.scale for length in _CONTEXTS]
        self._max_period = rule.max_period * rule.scale
        self._window = rule.required_length(self._max_period) + self._contexts[-1]
        self._tail = ""
        self._position = 0
        self._pending: list[str] = []
        self._period = 0
        self._match = 0
        self.due = self._step
        """Symbols to read before the next look; until then nothing else here changes."""
        self.loop: Loop | None = None
        """The first loop, up to date while it goes on."""
        self.looping = False
        """The tail is a loop now."""
        self.wasted = 0
        """Symbols so far that only repeated, in a loop, what had been said."""

    def feed(self, symbols: str) -> None:
        """Read on. In which pieces does not matter."""
        at, length = 0, len(symbols)
        while length - at >= self.due:
            end = at + self.due
            self._pending.append(symbols[at:end])
            at = end
            self._check()
        if at < length:
            self._pending.append(symbols[at:])
            self.due -= length - at

    def finish(self) -> Loop | None:
        """Read what was held back, and return the loop if there was one."""
        if self._pending:
            self._check()
        return self.loop

    def _check(self) -> None:
        new = "".join(self._pending)
        self._pending.clear()
        self._position += len(new)
        tail = self._tail + new
        if len(tail) > 2 * self._window:
            tail = tail[-self._window :]
        self._tail = tail
        if self._period and tail.endswith(tail[-len(new) - self._period : -self._period]):
            self._match += len(new)
        else:
            self._period = self._match = 0
        if self._progress() < 1:
            self._search()
        self._update(len(new))
        left = self._rule.required_length(self._period) - self._match - self._period
        self.due = min(self._step, left) if self._period and left > 0 else self._step

    def _search(self) -> None:
        """Take the candidate that is nearest to being a loop."""
        tail, best = self._tail, self._progress()
        candidate = 0
        for length in self._contexts:
            start = max(0, len(tail) - length - self._max_period)
            at = tail.rfind(tail[-length:], start, len(tail) - 1) if len(tail) > length else -1
            if at < 0:
                break  # what is not there cannot be there with more before it
            candidate = len(tail) - length - at
        if candidate and candidate != self._period:
            match = self._match_length(candidate)
            if (match + candidate) / self._rule.required_length(candidate) > best:
                self._period, self._match = candidate, match

    def _match_length(self, period: int) -> int:
        """Return how much of the tail equals what stands one period earlier."""
        tail = self._tail
        low, high = 0, len(tail) - period
        while low < high:
            middle = (low + high + 1) // 2
            if tail.endswith(tail[len(tail) - middle - period : len(tail) - period]):
                low = middle
            else:
                high = middle - 1
        return low

    def _progress(self) -> float:
        if not self._period:
            return 0.0
        return (self._match + self._period) / self._rule.required_length(self._period)

    def _update(self, new: int) -> None:
        before, self.looping = self.looping, self._progress() >= 1
        if not self.looping:
            return
        self.wasted += new if before else self._match
        if self.loop is None or self.loop.period == self._period:
            length = self._match + self._period
            self.loop = Loop(self._period, length // self._period, self._position - length)


class CounterLoopDetector:
    """Finds loops that count: "Step 17 ... Step 18 ...". Reads text.

    Numbers are taken for equal, so numbered lists and tables may trip it: it is for metrics only.
    """

    __slots__ = ("_detector", "_digit")

    def __init__(self, rule: LoopRule = LoopRule()) -> None:
        self._detector = LoopDetector(rule.for_text())
        self._digit = False

    def feed(self, text: str) -> None:
        """Read on."""
        if not text:
            return
        # A number may be cut in two by the chunks of a stream.
        symbols = _NUMBER.sub("0", text.lstrip(_DIGITS) if self._digit else text)
        self._digit = text[-1] in _DIGITS
        self._detector.feed(symbols)

    def finish(self) -> Loop | None:
        """Return the loop if there was one, in characters of the text with one digit a number."""
        return self._detector.finish()


_DIGITS = "0123456789"
_NUMBER = re.compile("[0-9]+")


def as_symbols(token_ids: Iterable[int]) -> str:
    """Return token ids as symbols, one character each."""
    return "".join(map(chr, token_ids))
