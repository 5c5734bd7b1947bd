"""Texts that loop, made from a seed, and an oracle that checks every period at every token."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mistral_server.gate.loops import LoopRule

Tokens = list[int]
_VOCABULARY = 5000


@dataclass(frozen=True)
class Case:
    """A text that loops."""

    kind: str
    period: int
    tokens: Tokens


def first_loop(tokens: Tokens, rule: LoopRule) -> tuple[int, int] | None:
    """Return after how many tokens the rule holds first, and the period; exact and slow."""
    array, best = np.array(tokens), None
    for period in range(1, min(rule.max_period, len(tokens) - 1) + 1):
        required_length = rule.required_length(period) - period
        equal = array[period:] == array[:-period]
        if required_length > len(equal):
            continue
        ends = np.concatenate((np.flatnonzero(~equal), [len(equal)]))
        starts = np.concatenate(([-1], ends[:-1]))
        long = np.flatnonzero(ends - starts - 1 >= required_length)
        if len(long):
            at = int(period + starts[long[0]] + 1 + required_length)
            if best is None or at < best[0]:
                best = at, period
    return best


def looping_texts(seed: int, count: int, rule: LoopRule) -> Iterator[Case]:
    """Yield texts with noise before the loop, in a third of them a first copy with a mistake."""
    random_ = random.Random(seed)
    kinds = sorted(_UNITS)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        longest = random_.choice([1, 3, 20, 128, rule.max_period])
        period = random_.randint(1, longest)
        unit = _UNITS[kind](random_, period)
        noise = human(random_, random_.randrange(600))
        if number % 3 == 0:
            cut = random_.randrange(period)
            noise += [*unit[:cut], _VOCABULARY, *unit[cut:]]
        length = rule.required_length(period) + period + 20
        repetitions = unit * (length // period + 2)
        yield Case(kind, period, noise + repetitions[:length])


def human(random_: random.Random, length: int) -> Tokens:
    """Return tokens as frequent as words are."""
    return [int(random_.paretovariate(0.6)) % _VOCABULARY for _ in range(length)]


def _repeats_itself(random_: random.Random, period: int) -> Tokens:
    part = human(random_, max(1, period // 3))
    return [*(part * 4)[: period - 1], random_.randrange(_VOCABULARY)]


def _shared(random_: random.Random, period: int) -> Tokens:
    part = human(random_, period // 2)
    return [*part, random_.randrange(_VOCABULARY), *part, *human(random_, period)][:period]


def _blocks(random_: random.Random, period: int) -> Tokens:
    shared = human(random_, random_.randint(10, 40))
    unit: Tokens = []
    while len(unit) < period:
        unit += shared + human(random_, random_.randint(1, 20))
    return unit[:period]


_UNITS: dict[str, Callable[[random.Random, int], Tokens]] = {
    "natural": human,
    "repeats itself": _repeats_itself,
    "two values": lambda random_, period: [random_.randrange(2) for _ in range(period)],
    "mostly one value": lambda random_, period: [
        int(random_.random() < 0.02) for _ in range(period)
    ],
    "long shared part": _shared,
    "blocks": _blocks,
}
