"""How many replicas the load asks for: tables of what HPA would say."""

import pytest

from mistral_operator.api import Autoscaling, ScalingReason
from mistral_operator.autoscaling import (
    Look,
    PodLoad,
    begin,
    decide,
    recommend,
    target_of,
)
from operator_autoscaling_cases import STEP, TARGET, at_once, first, followed, pods, spec

# --- Load -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pod", "demand"),
    [
        pytest.param(PodLoad(running=6, waiting=2), 8, id="running and waiting"),
        pytest.param(PodLoad(running=6, waiting=2, looping=5), 3, id="without those that loop"),
        pytest.param(PodLoad(running=1, looping=3), 0, id="numbers of two moments"),
        pytest.param(
            PodLoad(running=4, waiting=3, starved=3, kv_cache_usage=0.97), 13, id="a full cache"
        ),
        pytest.param(
            PodLoad(running=4, looping=3, waiting=3, starved=3, kv_cache_usage=0.97),
            5.5,
            id="a cache that loops fill",
        ),
        pytest.param(
            PodLoad(running=4, waiting=3, starved=0, kv_cache_usage=0.97),
            7,
            id="waiting for something else than room",
        ),
        pytest.param(
            PodLoad(running=4, waiting=3, starved=3, kv_cache_usage=0.5), 7, id="room comes soon"
        ),
        pytest.param(
            PodLoad(running=15, waiting=1, starved=1, kv_cache_usage=1), 16, id="more than a target"
        ),
    ],
)
def test_load_is_what_somebody_may_want_the_answer_of(pod: PodLoad, demand: float) -> None:
    assert pod.demand(TARGET) == demand


@pytest.mark.parametrize(
    ("asked", "kv_tokens", "max_sequences", "target"),
    [
        (7, 1_000_000, None, 7),
        (None, 400_000, None, 97),
        (None, 400_000, 64, 64),
        (None, 40_000_000, None, 256),
        (None, 2000, None, 1),
        (None, None, 64, None),
    ],
)
def test_the_target_is_asked_for_or_follows_from_the_cache(
    asked: int | None, kv_tokens: int | None, max_sequences: int | None, target: int | None
) -> None:
    assert target_of(asked, kv_tokens, max_sequences) == target


# --- Recommendation -------------------------------------------------------------------------------

RECOMMENDED: dict[str, tuple[int, Look, int]] = {
    "at the target": (2, Look(pods(10, 10)), 2),
    "within the tolerance": (2, Look(pods(11, 11)), 2),
    "beyond it": (2, Look(pods(12, 11)), 3),
    "below, within the tolerance": (2, Look(pods(9, 9)), 2),
    "below": (2, Look(pods(5, 4)), 1),
    "ten times": (2, Look(pods(100, 100)), 20),
    "nothing at all": (4, Look(pods(0, 0, 0, 0)), 1),
    "the others are starting": (6, Look(pods(30, 30)), 6),
    "more than those that start can take": (6, Look(pods(40, 40)), 8),
    "idle beside those that start": (6, Look(pods(2, 2)), 1),
    "nobody was heard": (3, Look((), silent=3), 3),
    "no pod is there": (3, Look(), 3),
    "silent ones might be full": (4, Look(pods(2), silent=3), 4),
    "the rest can take what silent ones may hold": (4, Look(pods(0, 0, 0), silent=1), 1),
    "silent ones might be idle": (4, Look(pods(20, 20), silent=2), 4),
    "too much even if silent ones are idle": (4, Look(pods(30, 30), silent=2), 6),
    "most requests loop": (2, Look(pods(40, 40, looping=35)), 1),
}


@pytest.mark.parametrize(("current", "look", "wanted"), RECOMMENDED.values(), ids=RECOMMENDED)
def test_a_recommendation_is_what_hpa_would_say(current: int, look: Look, wanted: int) -> None:
    assert recommend(look, TARGET, current, 0.1) == wanted


# --- Behavior ------------------------------------------------------------------------------------

PODS_2 = [{"type": "Pods", "value": 2, "periodSeconds": 60}]
HALF = [{"type": "Percent", "value": 50, "periodSeconds": 60}]

RATES: dict[str, tuple[dict[str, object], int, int, list[int]]] = {
    "doubling": ({}, 6, 200, [12, 20, 20]),
    "at least 4": ({}, 1, 200, [5, 10, 20]),
    "two a minute": ({"scaleUp": {"policies": PODS_2}}, 4, 200, [6, 6, 6, 6, 8]),
    "half a minute": ({"scaleUp": {"policies": HALF}}, 4, 200, [6, 6, 6, 6, 9]),
    "the larger": ({"scaleUp": {"policies": PODS_2 + HALF}}, 6, 200, [9, 9, 9, 9, 14]),
    "the smaller": (
        {"scaleUp": {"policies": PODS_2 + HALF, "selectPolicy": "Min"}},
        *(6, 200, [8, 8, 8, 8, 10]),
    ),
    "never up": ({"scaleUp": {"selectPolicy": "Disabled"}}, 4, 200, [4, 4]),
    "never down": ({"scaleDown": {"selectPolicy": "Disabled"}}, 4, 0, [4, 4]),
    "down two a minute": (
        {"scaleDown": {"policies": PODS_2, "stabilizationWindowSeconds": 0}},
        *(7, 0, [5, 5, 5, 5, 3]),
    ),
    "down by half": (
        {"scaleDown": {"policies": HALF, "stabilizationWindowSeconds": 0}},
        *(7, 0, [3, 3, 3, 3, 1]),
    ),
    "at once": ({"scaleDown": {"stabilizationWindowSeconds": 0}}, 7, 0, [1, 1]),
}


@pytest.mark.parametrize(("behavior", "start", "load", "path"), RATES.values(), ids=RATES)
def test_replicas_follow_no_faster_than_the_policies_let_them(
    behavior: dict[str, object], start: int, load: int, path: list[int]
) -> None:
    assert followed(spec(behavior=behavior), start, [load] * len(path)) == path


def test_replicas_fall_to_the_most_that_was_wanted_within_the_window() -> None:
    path = followed(spec(), 4, [40] * 2 + [10] * 4 + [30] + [10] * 40)

    assert path[:21] == [4] * 21, "five minutes after the last look that wanted 4"
    assert path[21:26] == [3] * 5, "five minutes after the one that wanted 3"
    assert set(path[26:]) == {1}


def test_a_window_for_scaling_up_waits_for_a_load_that_lasts() -> None:
    patient = spec(behavior={"scaleUp": {"stabilizationWindowSeconds": 60}})

    assert followed(patient, 2, [20] * 4 + [60, 20, 60, 20] + [20] * 4) == [2] * 12
    assert followed(patient, 2, [20] + [60] * 5)[-1] == 6


def test_somebody_who_has_just_begun_does_not_scale_down() -> None:
    _, memory = decide(spec(), begin(4, now=0.0), Look(pods(0, 0, 0, 0)), TARGET, 1.0)
    assert memory.replicas == 4

    _, memory = decide(spec(), memory, Look(pods(0, 0, 0, 0)), TARGET, 301.0)
    assert memory.replicas == 1


def test_a_window_does_not_run_out_in_silence() -> None:
    memory = begin(4, now=0.0)
    for number in range(1, 60):
        _, memory = decide(spec(), memory, Look((), silent=4), TARGET, number * STEP)

    decision, memory = decide(spec(), memory, Look(pods(0, 0, 0, 0)), TARGET, 60 * STEP)

    assert decision.replicas == 4


# --- Decisions ------------------------------------------------------------------------------------

REASONS: dict[str, tuple[Autoscaling, int, Look, ScalingReason, int, str]] = {
    "more": (spec(), 2, Look(pods(20, 15)), ScalingReason.SCALED_UP, 4, "from 2 to 4 replicas: 35"),
    "fewer": (at_once(), 3, Look(pods(5, 5, 5)), ScalingReason.SCALED_DOWN, 2, "from 3 to 2"),
    "enough": (spec(), 2, Look(pods(10, 10)), ScalingReason.ON_TARGET, 2, "need 2 replicas"),
    "not yet": (
        spec(behavior={"scaleUp": {"selectPolicy": "Disabled"}}),
        *(2, Look(pods(20, 20)), ScalingReason.STABILIZED, 2, "need 4 replicas at a target of 10"),
    ),
    "no more": (
        spec(maxReplicas=2),
        *(2, Look(pods(20, 20)), ScalingReason.AT_MAXIMUM, 2, "raise spec.autoscaling.maxReplicas"),
    ),
    "loops": (
        spec(),
        *(2, Look(pods(90, 90, looping=75)), ScalingReason.FROZEN, 2, "spec.loops.action to Stop"),
    ),
    "loops that do not matter": (
        spec(freezeLoopShare=1),
        *(2, Look(pods(90, 90, looping=75)), ScalingReason.SCALED_UP, 3, "150 looping"),
    ),
    "loops that are asked for less": (
        at_once(),
        *(2, Look(pods(10, 10, looping=8)), ScalingReason.SCALED_DOWN, 1, "16 looping"),
    ),
    "silence": (spec(), 2, Look((), silent=2), ScalingReason.NO_SIGNALS, 2, "no ready pod reports"),
    "no pods": (spec(), 2, Look(), ScalingReason.NOT_READY, 2, "no pod is ready"),
    "one is silent": (
        spec(),
        2,
        Look(pods(10), silent=1),
        ScalingReason.ON_TARGET,
        2,
        "1 pod without",
    ),
    "a higher minimum": (
        spec(minReplicas=3),
        *(1, Look(pods(0)), ScalingReason.SCALED_UP, 3, "from 1 to 3 replicas"),
    ),
    "a higher minimum among loops": (
        spec(minReplicas=3),
        *(1, Look(pods(90, looping=75)), ScalingReason.SCALED_UP, 3, "from 1 to 3 replicas"),
    ),
    "a lower maximum in silence": (
        spec(maxReplicas=3),
        *(9, Look((), silent=9), ScalingReason.SCALED_DOWN, 3, "from 9 to 3 replicas"),
    ),
}


@pytest.mark.parametrize(
    ("given", "current", "look", "reason", "replicas", "fragment"), REASONS.values(), ids=REASONS
)
def test_a_decision_says_why(
    given: Autoscaling,
    current: int,
    look: Look,
    reason: ScalingReason,
    replicas: int,
    fragment: str,
) -> None:
    decision = first(given, current, look)

    assert (decision.reason, decision.replicas) == (reason, replicas)
    assert fragment in decision.message
    assert len(decision.message) <= 1024


def test_without_a_target_nothing_is_known() -> None:
    assert first(spec(), 2, Look(pods(90, 90)), target=None).reason is ScalingReason.NO_SIGNALS
