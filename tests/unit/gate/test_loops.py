"""The loop detector against an oracle that checks every period."""

import random
import tracemalloc

import pytest

from loop_oracle import Case, first_loop, human, looping_texts
from mistral_server.gate.loops import (
    CounterLoopDetector,
    Loop,
    LoopDetector,
    LoopRule,
    as_symbols,
)

RULE = LoopRule()


def detected_after(tokens: list[int], rule: LoopRule = RULE) -> int | None:
    """Return after how many tokens a detector that gets them one by one finds a loop."""
    detector = LoopDetector(rule)
    for count, symbol in enumerate(as_symbols(tokens), start=1):
        detector.feed(symbol)
        if detector.loop is not None:
            return count
    return None


CASES = list(looping_texts(seed=20261124, count=600, rule=RULE))


@pytest.mark.parametrize("kind", sorted({case.kind for case in CASES}))
def test_every_loop_is_detected_at_the_first_token_at_which_the_rule_holds(kind: str) -> None:
    late: list[tuple[Case, int | None]] = []
    for case in CASES:
        if case.kind == kind:
            truth = first_loop(case.tokens, RULE)
            assert truth is not None
            got = detected_after(case.tokens)
            if got != truth[0]:
                late.append((case, got))

    assert late == []


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_detected_where_the_oracle_detects_nothing(seed: int) -> None:
    random_ = random.Random(seed)
    tokens = human(random_, 3000)
    unit = human(random_, random_.randint(70, 900))
    tokens += [6001, *unit * 3, *unit[:-1], 6002]  # almost four repetitions
    tokens += [6003] * 255 + human(random_, 500)

    assert first_loop(tokens, RULE) is None
    assert detected_after(tokens) is None


@pytest.mark.parametrize("chunk", [1, 2, 5, 17, 1000, 100_000])
def test_it_does_not_matter_in_which_pieces_a_text_comes(chunk: int) -> None:
    symbols = as_symbols([*range(100), *(list(range(500, 537)) * 40), *range(50)])
    detector = LoopDetector(RULE)
    for at in range(0, len(symbols), chunk):
        detector.feed(symbols[at : at + chunk])

    loop = detector.finish()
    assert loop is not None
    assert (loop.period, loop.onset) == (37, 100)
    assert 30 <= loop.repetitions <= 40
    assert not detector.looping
    # In steps of a check; the loop's own 39 repetitions are 1,443 tokens.
    assert 1443 - 16 <= detector.wasted <= 1443


def test_a_loop_has_its_period_repetitions_and_onset() -> None:
    detector = LoopDetector(RULE)
    detector.feed(as_symbols([9] * 3 + [1, 2, 3, 4] * 100))

    assert detector.finish() == Loop(period=4, repetitions=100, onset=3)
    assert detector.looping
    assert detector.wasted == 396


@pytest.mark.parametrize(
    ("rule", "repetitions", "looping"),
    [
        (LoopRule(repeats=4, min_tokens=40), 4, True),
        (LoopRule(repeats=4, min_tokens=41), 4, False),
        (LoopRule(repeats=5, min_tokens=40), 4, False),
        (LoopRule(repeats=5, min_tokens=40), 5, True),
        (LoopRule(repeats=4, min_tokens=40, max_period=9), 5, False),
        (LoopRule(repeats=4, min_tokens=40, max_period=9), 9, False),
    ],
)
def test_the_rule_is_kept_to_the_token(rule: LoopRule, repetitions: int, looping: bool) -> None:
    detector = LoopDetector(rule)
    detector.feed(as_symbols(list(range(100, 110)) * repetitions))

    assert (detector.finish() is not None) is looping


def test_text_counts_four_characters_for_a_token() -> None:
    detector = LoopDetector(RULE.for_text())
    detector.feed("so " * 341)
    assert detector.finish() is None  # 1,023 characters

    detector.feed("s")
    assert detector.finish() is not None


def test_a_counting_loop_is_detected_for_numbers_of_any_length() -> None:
    text = "".join(f"Step {number}: now take step {number + 1}.\n" for number in range(990, 1040))
    exact, counter = LoopDetector(RULE.for_text()), CounterLoopDetector(RULE)
    for at in range(0, len(text), 3):  # numbers are split
        exact.feed(text[at : at + 3])
        counter.feed(text[at : at + 3])

    assert exact.finish() is None
    loop = counter.finish()
    assert loop is not None
    assert loop.period == len("Step 0: now take step 0.\n")


def test_a_list_of_different_lines_does_not_count() -> None:
    random_ = random.Random(1)
    text = "".join(
        f"{number}. {random_.random()} {random_.choice('abcdefgh') * 9}\n" for number in range(900)
    )
    counter = CounterLoopDetector(RULE)
    counter.feed(text)

    assert counter.finish() is None


def test_a_stream_takes_less_than_256_kib_however_long_it_is() -> None:
    random_ = random.Random(1)
    tracemalloc.start()
    try:
        detector, counter = LoopDetector(RULE), CounterLoopDetector(RULE)
        before = tracemalloc.take_snapshot()
        for _ in range(2000):
            detector.feed(as_symbols(human(random_, 64)))
            counter.feed("some 17 words, and 18 more. " * 9)
        grown = tracemalloc.take_snapshot().compare_to(before, "filename")
        held = sum(one.size_diff for one in grown if one.traceback[0].filename.endswith("loops.py"))
    finally:
        tracemalloc.stop()

    assert 0 < held < 256 * 1024
