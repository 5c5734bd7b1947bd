"""How many replicas the load needs: tables of what HPA would recommend."""

import pytest

from mistral_operator.api import Autoscaling, ScalingReason
from mistral_operator.autoscaling import (
    LoadSample,
    PodLoad,
    decide_replicas,
    effective_target,
    initial_history,
    recommend,
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
def test_demand_is_productive_requests(pod: PodLoad, demand: float) -> None:
    assert pod.demand(TARGET) == demand


@pytest.mark.parametrize(
    ("configured", "kv_tokens", "max_sequences", "target"),
    [
        (7, 1_000_000, None, 7),
        (None, 400_000, None, 97),
        (None, 400_000, 64, 64),
        (None, 40_000_000, None, 256),
        (None, 2000, None, 1),
        (None, None, 64, None),
    ],
)
def test_the_target_is_configured_or_follows_from_the_kv_cache(
    configured: int | None, kv_tokens: int | None, max_sequences: int | None, target: int | None
) -> None:
    assert effective_target(configured, kv_tokens, max_sequences) == target


# --- Recommendation -------------------------------------------------------------------------------

RECOMMENDED: dict[str, tuple[int, LoadSample, int]] = {
    "at the target": (2, LoadSample(pods(10, 10)), 2),
    "within the tolerance": (2, LoadSample(pods(11, 11)), 2),
    "beyond it": (2, LoadSample(pods(12, 11)), 3),
    "below, within the tolerance": (2, LoadSample(pods(9, 9)), 2),
    "below": (2, LoadSample(pods(5, 4)), 1),
    "ten times": (2, LoadSample(pods(100, 100)), 20),
    "nothing at all": (4, LoadSample(pods(0, 0, 0, 0)), 1),
    "the others are starting": (6, LoadSample(pods(30, 30)), 6),
    "more than those that start can take": (6, LoadSample(pods(40, 40)), 8),
    "idle beside those that start": (6, LoadSample(pods(2, 2)), 1),
    "no pod reported": (3, LoadSample((), unreported=3), 3),
    "no pod is there": (3, LoadSample(), 3),
    "pods without a report may be full": (4, LoadSample(pods(2), unreported=3), 4),
    "the others can serve what pods without a report may run": (
        4,
        LoadSample(pods(0, 0, 0), unreported=1),
        1,
    ),
    "pods without a report may be idle": (4, LoadSample(pods(20, 20), unreported=2), 4),
    "too much even if pods without a report are idle": (
        4,
        LoadSample(pods(30, 30), unreported=2),
        6,
    ),
    "most requests loop": (2, LoadSample(pods(40, 40, looping=35)), 1),
}


@pytest.mark.parametrize(("current", "sample", "want"), RECOMMENDED.values(), ids=RECOMMENDED)
def test_a_recommendation_is_that_of_hpa(current: int, sample: LoadSample, want: int) -> None:
    assert recommend(sample, TARGET, current, 0.1) == want


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
def test_replicas_follow_no_faster_than_the_policies_allow(
    behavior: dict[str, object], start: int, load: int, path: list[int]
) -> None:
    assert followed(spec(behavior=behavior), start, [load] * len(path)) == path


def test_replicas_fall_to_the_highest_recommendation_within_the_window() -> None:
    path = followed(spec(), 4, [40] * 2 + [10] * 4 + [30] + [10] * 40)

    assert path[:21] == [4] * 21, "five minutes after the last recommendation of 4"
    assert path[21:26] == [3] * 5, "five minutes after the one of 3"
    assert set(path[26:]) == {1}


def test_a_window_for_scaling_up_ignores_short_peaks() -> None:
    slow_up = spec(behavior={"scaleUp": {"stabilizationWindowSeconds": 60}})

    assert followed(slow_up, 2, [20] * 4 + [60, 20, 60, 20] + [20] * 4) == [2] * 12
    assert followed(slow_up, 2, [20] + [60] * 5)[-1] == 6


def test_an_operator_that_has_just_started_does_not_scale_down() -> None:
    _, history = decide_replicas(
        spec(), initial_history(4, now=0.0), LoadSample(pods(0, 0, 0, 0)), TARGET, 1.0
    )
    assert history.replicas == 4

    _, history = decide_replicas(spec(), history, LoadSample(pods(0, 0, 0, 0)), TARGET, 301.0)
    assert history.replicas == 1


def test_a_window_does_not_end_without_reports() -> None:
    history = initial_history(4, now=0.0)
    for number in range(1, 60):
        _, history = decide_replicas(
            spec(), history, LoadSample((), unreported=4), TARGET, number * STEP
        )

    decision, history = decide_replicas(
        spec(), history, LoadSample(pods(0, 0, 0, 0)), TARGET, 60 * STEP
    )

    assert decision.replicas == 4


# --- Decisions ------------------------------------------------------------------------------------

REASONS: dict[str, tuple[Autoscaling, int, LoadSample, ScalingReason, int, str]] = {
    "more": (
        spec(),
        2,
        LoadSample(pods(20, 15)),
        ScalingReason.SCALED_UP,
        4,
        "from 2 to 4 replicas: 35",
    ),
    "fewer": (at_once(), 3, LoadSample(pods(5, 5, 5)), ScalingReason.SCALED_DOWN, 2, "from 3 to 2"),
    "enough": (spec(), 2, LoadSample(pods(10, 10)), ScalingReason.ON_TARGET, 2, "need 2 replicas"),
    "not yet": (
        spec(behavior={"scaleUp": {"selectPolicy": "Disabled"}}),
        *(
            2,
            LoadSample(pods(20, 20)),
            ScalingReason.STABILIZED,
            2,
            "need 4 replicas at a target of 10",
        ),
    ),
    "no more": (
        spec(maxReplicas=2),
        *(
            2,
            LoadSample(pods(20, 20)),
            ScalingReason.AT_MAXIMUM,
            2,
            "raise spec.autoscaling.maxReplicas",
        ),
    ),
    "loops": (
        spec(),
        *(
            2,
            LoadSample(pods(90, 90, looping=75)),
            ScalingReason.FROZEN,
            2,
            "spec.loops.action to Stop",
        ),
    ),
    "loops that do not matter": (
        spec(freezeLoopShare=1),
        *(2, LoadSample(pods(90, 90, looping=75)), ScalingReason.SCALED_UP, 3, "150 looping"),
    ),
    "loops below the target": (
        at_once(),
        *(2, LoadSample(pods(10, 10, looping=8)), ScalingReason.SCALED_DOWN, 1, "16 looping"),
    ),
    "no reports": (
        spec(),
        2,
        LoadSample((), unreported=2),
        ScalingReason.NO_SIGNALS,
        2,
        "no ready pod reports",
    ),
    "no pods": (spec(), 2, LoadSample(), ScalingReason.NOT_READY, 2, "no pod is ready"),
    "one without a report": (
        spec(),
        2,
        LoadSample(pods(10), unreported=1),
        ScalingReason.ON_TARGET,
        2,
        "1 pod without",
    ),
    "a higher minimum": (
        spec(minReplicas=3),
        *(1, LoadSample(pods(0)), ScalingReason.SCALED_UP, 3, "from 1 to 3 replicas"),
    ),
    "a higher minimum among loops": (
        spec(minReplicas=3),
        *(1, LoadSample(pods(90, looping=75)), ScalingReason.SCALED_UP, 3, "from 1 to 3 replicas"),
    ),
    "a lower maximum without reports": (
        spec(maxReplicas=3),
        *(9, LoadSample((), unreported=9), ScalingReason.SCALED_DOWN, 3, "from 9 to 3 replicas"),
    ),
}


@pytest.mark.parametrize(
    ("autoscaling", "current", "sample", "reason", "replicas", "fragment"),
    REASONS.values(),
    ids=REASONS,
)
def test_a_decision_says_why(
    autoscaling: Autoscaling,
    current: int,
    sample: LoadSample,
    reason: ScalingReason,
    replicas: int,
    fragment: str,
) -> None:
    decision = first(autoscaling, current, sample)

    assert (decision.reason, decision.replicas) == (reason, replicas)
    assert fragment in decision.message
    assert len(decision.message) <= 1024


def test_without_a_target_the_load_is_unknown() -> None:
    assert (
        first(spec(), 2, LoadSample(pods(90, 90)), target=None).reason is ScalingReason.NO_SIGNALS
    )
