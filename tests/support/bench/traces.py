"""Traces of requests, generated from a seed: by day and night, in bursts, in storms of loops."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

HOUR = 3600.0

MEDIAN_PROMPT, MEDIAN_ANSWER, SPREAD, LONGEST = 500, 250, 0.8, 4096
"""Tokens; both are log-normal, as those of chats are."""

MAX_TOKENS = 8192
"""Where a generation ends that loops and is not stopped."""

STOPPED_AFTER = 512
"""Tokens of a loop after which `spec.loops.action: Stop` ends it."""

USUAL_LOOPS = 0.0129
"""Share of endless generations that the model card gives for Mistral-Small 3.2."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request: when it comes, how long its answer is, and whether it then loops."""

    arrival: float
    prompt: int
    """Tokens of the prompt."""
    tokens: int
    """All tokens that are generated."""
    useful: int
    """Those before the loop."""

    @property
    def loops(self) -> bool:
        """Whether it ends in a loop."""
        return self.tokens > self.useful


@dataclass(frozen=True)
class Trace:
    """What happens within a time."""

    name: str
    seconds: float
    rate: Callable[[float], float]
    """Requests a second, at a time."""
    loop_share: Callable[[float], float]
    stopped: bool = False
    """Loops are stopped."""
    seed: int = 1

    def requests(self) -> Iterator[Request]:
        """Yield the requests in the order of their arrival, the same each time."""
        random, now = Random(f"{self.name}/{self.seed}".removesuffix(", stopped")), 0.0
        most = max(self.rate(at) for at in _steps(self.seconds))
        while True:
            now += random.expovariate(most)
            if now >= self.seconds:
                return
            kept, loops = random.random() * most < self.rate(now), random.random()
            prompt, useful = _length(random, MEDIAN_PROMPT), _length(random, MEDIAN_ANSWER)
            if kept:
                endless = loops < self.loop_share(now)
                yield Request(now, prompt, self._end(useful) if endless else useful, useful)

    def _end(self, useful: int) -> int:
        return useful + STOPPED_AFTER if self.stopped else MAX_TOKENS


def traces(seed: int) -> list[Trace]:
    """Return the traces of a seed."""
    random = Random(seed)
    bursts = _windows(random, 6 * HOUR, gap=(25 * 60, 50 * 60), length=(5 * 60, 12 * 60))
    storms = _windows(random, 6 * HOUR, gap=(45 * 60, 70 * 60), length=(20 * 60, 30 * 60))

    def usual(_: float) -> float:
        return USUAL_LOOPS

    def mild(at: float) -> float:
        return 0.03 if _within(storms, at) else USUAL_LOOPS

    def heavy(at: float) -> float:
        return 0.10 if _within(storms, at) else USUAL_LOOPS

    def by_day(at: float) -> float:
        return 0.5 + 10 * math.sin(math.pi * at / (24 * HOUR)) ** 4

    def by_bursts(at: float) -> float:
        return 10.0 if _within(bursts, at) else 2.0

    def steady(at: float) -> float:
        return 4.0 + math.sin(2 * math.pi * at / HOUR)

    return [
        Trace("day and night", 24 * HOUR, by_day, usual, seed=seed),
        Trace("bursts", 6 * HOUR, by_bursts, usual, seed=seed),
        Trace("storms of 3 % loops", 6 * HOUR, steady, mild, seed=seed),
        Trace("storms of 10 % loops", 6 * HOUR, steady, heavy, seed=seed),
        Trace("storms of 10 % loops, stopped", 6 * HOUR, steady, heavy, stopped=True, seed=seed),
    ]


def _length(random: Random, median: int) -> int:
    return min(max(int(random.lognormvariate(math.log(median), SPREAD)), 8), LONGEST)


def _windows(
    random: Random, seconds: float, gap: tuple[float, float], length: tuple[float, float]
) -> list[tuple[float, float]]:
    windows, at = [], random.uniform(*gap)
    while at < seconds:
        end = at + random.uniform(*length)
        windows.append((at, end))
        at = end + random.uniform(*gap)
    return windows


def _within(windows: list[tuple[float, float]], at: float) -> bool:
    return any(start <= at < end for start, end in windows)


def _steps(seconds: float) -> Iterator[float]:
    at = 0.0
    while at < seconds:
        yield at
        at += 60.0
