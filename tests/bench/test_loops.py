"""The loop detector beside other rules: recall, false alarms, time a token, memory a stream.

The rules are those of vLLM (its own code), of a window that is looked at every 16 tokens (mlx), and
Whisper's compression ratio. All see the same tokens.
"""

import ast
import time
import tracemalloc
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from bench.human_text import KINDS, LARGEST_PIECE, Piece, pieces
from loop_oracle import first_loop, human, looping_texts
from mistral_dev.images import engine
from mistral_server.gate.loops import CounterLoopDetector, LoopDetector, LoopRule, as_symbols

RULE = LoopRule()
TEXTS = 3000
"""Synthetic loops; more than the 1,000 that a miss rate of 0.1 % needs to show."""

Finder = Callable[[Sequence[int]], bool]


def ours(tokens: Sequence[int]) -> bool:
    detector = LoopDetector(RULE)
    detector.feed(as_symbols(tokens))
    return detector.finish() is not None


def vllms(largest: int, count: int, smallest: int = 1) -> Finder:
    """Return vLLM's rule, its own code, at every token as its scheduler calls it."""
    check = _vllms_code()
    params = SimpleNamespace(max_pattern_size=largest, min_pattern_size=smallest, min_count=count)

    def find(tokens: Sequence[int]) -> bool:
        seen: list[int] = []
        for token in tokens:
            seen.append(token)
            if check(seen, params):
                return True
        return False

    return find


def window(tokens: Sequence[int], size: int = 512, period: int = 128, repetitions: int = 3) -> bool:
    """Look every 16 tokens at a window, as vllm-mlx does."""
    for end in range(16, len(tokens) + 1, 16):
        tail = tokens[max(0, end - size) : end]
        for one in range(1, period + 1):
            length = max(one * repetitions, 48)
            last = tail[-length:]
            if len(tail) >= length and all(last[at] == last[at - one] for at in range(one, length)):
                return True
    return False


def compression(tokens: Sequence[int]) -> bool:
    """Whisper's rule, on the bytes of the tokens."""
    raw = b"".join(token.to_bytes(4, "little") for token in tokens)
    return bool(raw) and len(raw) / len(zlib.compress(raw)) > 2.4 * 1.5  # ids compress more


def _vllms_code() -> Callable[[Sequence[int], Any], bool]:
    (file,) = engine.engine().glob("lib/python3*/site-packages/vllm/v1/core/sched/utils.py")
    functions = {"_has_repeating_pattern", "check_sequence_repetition"}
    tree = ast.parse(file.read_text())
    tree.body = [
        one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name in functions
    ]
    for function in tree.body:
        assert isinstance(function, ast.FunctionDef)
        for argument in function.args.args:
            argument.annotation = None  # vLLM's own types need vLLM
    names: dict[str, Any] = {}
    exec(compile(tree, str(file), "exec"), names)  # noqa: S102 - vLLM's code, from our own lock
    check: Callable[[Sequence[int], Any], bool] = names["check_sequence_repetition"]
    return check


@dataclass(frozen=True)
class Rule:
    """A rule, and how many of the texts it is given: some take minutes."""

    find: Finder
    share: int = 1


RULES = {
    "ours (4 repetitions, 256 tokens, period 1..1024)": Rule(ours),
    "vLLM 1..64, 4 repetitions": Rule(vllms(64, 4), 10),
    "vLLM 1..256, 4 repetitions": Rule(vllms(256, 4), 20),
    "vLLM 16..1024, 4 repetitions": Rule(vllms(1024, 4, 16), 50),
    "window 512, period 128, 3 repetitions": Rule(window, 20),
    "compression ratio": Rule(compression),
}


@pytest.mark.timeout(3600)
def test_recall_and_lag_on_synthetic_loops() -> None:
    missed: list[tuple[str, int]] = []
    lags: list[float] = []
    kinds: Counter[str] = Counter()
    for case in looping_texts(seed=7, count=TEXTS, rule=RULE):
        kinds[case.kind] += 1
        truth = first_loop(case.tokens, RULE)
        assert truth is not None
        detector, detected_at = LoopDetector(RULE), None
        for count, symbol in enumerate(as_symbols(case.tokens), start=1):
            detector.feed(symbol)
            if detector.loop is not None:
                detected_at = count
                break
        if detected_at is None:
            missed.append((case.kind, case.period))
        else:
            lags.append((detected_at - truth[0]) / truth[1])
    print(f"\n{TEXTS} synthetic loops {dict(kinds)}")
    print(
        f"missed {len(missed)} {missed}; found later than the oracle {sum(lag > 0 for lag in lags)}"
    )
    print(f"worst lag {max(lags):.3f} periods")
    assert len(missed) <= TEXTS / 1000
    assert max(lags) <= 1


@pytest.mark.timeout(3600)
def test_false_alarms_on_what_people_wrote() -> None:
    texts = list(pieces())
    by_kind = {kind: [one for one in texts if one.kind == kind] for kind in KINDS}
    print(f"\n{len(texts)} pieces of at most {LARGEST_PIECE} tokens")
    print(f"{'rule':<46}" + "".join(f"{kind:>10}" for kind in KINDS) + f"{'all':>10}")
    alarms: defaultdict[str, list[Piece]] = defaultdict(list)
    for name, rule in RULES.items():
        cells, seen = [], 0
        for of_kind in by_kind.values():
            sample = of_kind[:: rule.share]
            seen += len(sample)
            tripped = [one for one in sample if rule.find(one.tokens)]
            alarms[name] += tripped
            cells.append(f"{100 * len(tripped) / len(sample):9.2f}%")
        print(f"{name:<46}" + "".join(cells) + f"{100 * len(alarms[name]) / seen:9.2f}%")
    counters = [one for one in texts if _counts(one.text)]
    print(f"counter loops (metric only): {100 * len(counters) / len(texts):.2f}%")
    mine = alarms[next(iter(RULES))]
    for piece in mine:
        print(f"  tripped by {piece.kind} {piece.file.name}: {_loop(piece)}")
    assert len(texts) >= 5000
    assert len(mine) <= 0.003 * len(texts)


def _counts(text: str) -> bool:
    counter = CounterLoopDetector(RULE)
    counter.feed(text)
    return counter.finish() is not None


def _loop(piece: Piece) -> str:
    detector = LoopDetector(RULE)
    detector.feed(as_symbols(piece.tokens))
    return str(detector.finish())


@pytest.mark.timeout(3600)
def test_time_of_a_token_and_memory_of_a_stream() -> None:
    random_ = Random(1)
    plain = human(random_, 20_000)
    looping = human(random_, 700) * 28
    print(f"\n{'microseconds a token':<46}{'plain':>8}{'loop':>8}")
    for chunk in (1, 4, 64):
        cells = [_microseconds(tokens, chunk) for tokens in (plain, looping)]
        print(f"{f'ours, {chunk} tokens at once':<46}{cells[0]:8.2f}{cells[1]:8.2f}")
        assert max(cells) <= 2
    for name, rule in RULES.items():
        if name.startswith(("vLLM", "window")):
            some = plain[:1500]
            started = time.perf_counter()
            rule.find(some)
            print(f"{name:<46}{(time.perf_counter() - started) / len(some) * 1e6:8.2f}")
    kib = _kib()
    print(f"memory of a stream: {kib:.0f} KiB")
    assert kib <= 256


def _microseconds(tokens: Sequence[int], chunk: int) -> float:
    best = float("inf")
    for _ in range(3):
        detector = LoopDetector(RULE)
        started = time.perf_counter()
        for at in range(0, len(tokens), chunk):
            detector.feed(as_symbols(tokens[at : at + chunk]))
        best = min(best, time.perf_counter() - started)
    return best / len(tokens) * 1e6


def _kib() -> float:
    tracemalloc.start()
    detectors = [LoopDetector(RULE) for _ in range(10)]
    for detector in detectors:
        detector.feed(as_symbols(human(Random(2), 20_000)))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / len(detectors) / 1024


def test_the_bench_reads_vllms_own_rule() -> None:
    assert vllms(4, 3)([1, 2, 1, 2, 1, 2])
    assert not vllms(4, 3)([1, 2, 1, 2, 1, 3])
    assert Path(engine.engine()).is_dir()
