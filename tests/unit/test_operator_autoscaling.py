"""How many replicas the load asks for: tables of what HPA would say, and promises."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistral_operator.api import Autoscaling, ScalingReason
from mistral_operator.autoscaling import (
    Decision,
    Look,
    Memory,
    PodLoad,
    begin,
    decide,
    polled_load,
    recommend,
    target_of,
)

TARGET = 10
AT_ONCE_UP = {"scaleUp": {"stabilizationWindowSeconds": 0}}
STEP = 15.0


def spec(**fields: object) -> Autoscaling:
    """Return autoscaling between 1 and 20 replicas."""
    return Autoscaling.model_validate({"maxReplicas": 20, **fields})


def pods(*running: int, looping: int = 0) -> tuple[PodLoad, ...]:
    """Return pods that run so many requests each; in each, so many of them loop."""
    return tuple(PodLoad(running=one, looping=looping) for one in running)


def at_once(**fields: object) -> Autoscaling:
    """Return autoscaling without a window in either direction."""
    return spec(behavior={"scaleDown": {"stabilizationWindowSeconds": 0}}, **fields)


def first(given: Autoscaling, replicas: int, look: Look, target: int | None = TARGET) -> Decision:
    """Return the first decision on some replicas."""
    return decide(given, Memory(replicas), look, target, now=1000.0)[0]


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


# --- Behaviour ------------------------------------------------------------------------------------

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


def followed(given: Autoscaling, start: int, loads: list[int], step: float = STEP) -> list[int]:
    """Return the replicas at each look while a load is spread over as many pods as there are."""
    memory, path = Memory(start), []
    for number, load in enumerate(loads):
        share, rest = divmod(load, memory.replicas)
        spread = [share + (pod < rest) for pod in range(memory.replicas)]
        _, memory = decide(given, memory, Look(pods(*spread)), TARGET, number * step)
        path.append(memory.replicas)
    return path


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
    "enough": (spec(), 2, Look(pods(10, 10)), ScalingReason.ON_TARGET, 2, "ask for 2 replicas"),
    "not yet": (
        spec(behavior={"scaleUp": {"selectPolicy": "Disabled"}}),
        *(2, Look(pods(20, 20)), ScalingReason.STABILIZED, 2, "ask for 4 replicas of 10"),
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
    "silence": (spec(), 2, Look((), silent=2), ScalingReason.NO_SIGNALS, 2, "no ready pod says"),
    "no pods": (spec(), 2, Look(), ScalingReason.NOT_READY, 2, "no pod is ready"),
    "one is silent": (spec(), 2, Look(pods(10), silent=1), ScalingReason.ON_TARGET, 2, "1 pods"),
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


ZERO = spec(minReplicas=0)
ZERO_AT_ONCE = at_once(minReplicas=0)

SLEEPING: dict[str, tuple[Autoscaling, int, Look, int | None, ScalingReason, int, str]] = {
    "nobody asks": (ZERO, 0, Look(), TARGET, ScalingReason.ASLEEP, 0, "the next request"),
    "somebody asks": (
        ZERO,
        *(
            0,
            Look(held=1),
            TARGET,
            ScalingReason.SCALED_UP,
            1,
            "0 to 1 replicas: requests that wait",
        ),
    ),
    "many ask": (ZERO, 0, Look(held=35), TARGET, ScalingReason.SCALED_UP, 4, "to start: 35"),
    "more ask than one step may add": (
        ZERO,
        *(0, Look(held=95), TARGET, ScalingReason.SCALED_UP, 4, "from 0 to 4"),
    ),
    "many ask of an engine that nobody knows": (
        ZERO,
        *(0, Look(held=35), None, ScalingReason.SCALED_UP, 1, "from 0 to 1"),
    ),
    "scaling up is disabled, and waking is not": (
        spec(minReplicas=0, behavior={"scaleUp": {"selectPolicy": "Disabled"}}),
        *(0, Look(held=35), TARGET, ScalingReason.SCALED_UP, 1, "from 0 to 1"),
    ),
    "it starts": (ZERO, 1, Look(held=3), TARGET, ScalingReason.NOT_READY, 1, "no pod is ready"),
    "it starts, and many ask meanwhile": (
        spec(minReplicas=0, behavior=AT_ONCE_UP),
        *(1, Look(held=35), TARGET, ScalingReason.SCALED_UP, 4, "to start: 35"),
    ),
    "held requests count once a pod is ready": (
        spec(minReplicas=0, behavior=AT_ONCE_UP),
        *(1, Look(pods(10), held=9), TARGET, ScalingReason.SCALED_UP, 2, "9 waiting"),
    ),
    "idle": (
        ZERO_AT_ONCE,
        *(3, Look(pods(0, 0, 0)), TARGET, ScalingReason.SCALED_DOWN, 0, "nothing is asked"),
    ),
    "idle without a target": (
        ZERO_AT_ONCE,
        *(1, Look(pods(0)), None, ScalingReason.SCALED_DOWN, 0, "from 1 to 0"),
    ),
    "something came and went": (
        ZERO_AT_ONCE,
        *(3, Look(pods(0, 0, 0), active=True), TARGET, ScalingReason.SCALED_DOWN, 1, "3 to 1"),
    ),
    "one request is left": (
        ZERO_AT_ONCE,
        *(3, Look(pods(0, 1, 0)), TARGET, ScalingReason.SCALED_DOWN, 1, "3 to 1"),
    ),
    "only loops are left": (
        ZERO_AT_ONCE,
        *(1, Look(pods(4, looping=4)), TARGET, ScalingReason.ON_TARGET, 1, "4 looping"),
    ),
    "one is silent": (
        ZERO_AT_ONCE,
        *(2, Look(pods(0), silent=1), TARGET, ScalingReason.SCALED_DOWN, 1, "2 to 1"),
    ),
    "all are silent": (
        ZERO_AT_ONCE,
        *(1, Look((), silent=1), TARGET, ScalingReason.NO_SIGNALS, 1, "no ready pod says"),
    ),
    "none is ready": (ZERO_AT_ONCE, 1, Look(), TARGET, ScalingReason.NOT_READY, 1, "no pod is"),
    "idle, and one has to stay": (
        at_once(),
        *(3, Look(pods(0, 0, 0)), TARGET, ScalingReason.SCALED_DOWN, 1, "3 to 1"),
    ),
}


@pytest.mark.parametrize(
    ("given", "current", "look", "target", "reason", "replicas", "fragment"),
    SLEEPING.values(),
    ids=SLEEPING,
)
def test_an_endpoint_sleeps_when_all_is_known_to_be_idle_and_wakes_for_whoever_waits(
    given: Autoscaling,
    current: int,
    look: Look,
    target: int | None,
    reason: ScalingReason,
    replicas: int,
    fragment: str,
) -> None:
    decision = first(given, current, look, target)

    assert (decision.reason, decision.replicas) == (reason, replicas)
    assert fragment in decision.message


def test_the_last_replica_goes_after_a_window_without_anything_to_do() -> None:
    memory, slept_at = begin(1, 0.0), 0.0
    for step in range(1, 60):
        now = step * STEP
        look = Look(pods(0), active=now == 10 * STEP)
        decision, memory = decide(ZERO, memory, look, TARGET, now)
        if not decision.replicas:
            slept_at = now
            break

    assert slept_at == 10 * STEP + 300, "one request that came and went began it anew"


def test_without_a_target_nothing_is_known() -> None:
    assert first(spec(), 2, Look(pods(90, 90)), target=None).reason is ScalingReason.NO_SIGNALS


# --- Promises -------------------------------------------------------------------------------------

counts = st.integers(0, 200)
pod_loads = st.builds(
    PodLoad,
    running=counts,
    waiting=counts,
    starved=counts,
    looping=counts,
    kv_cache_usage=st.floats(0, 1),
)
looks = st.builds(
    Look,
    st.lists(pod_loads, max_size=12).map(tuple),
    st.integers(0, 12),
    st.sampled_from([0, 0, 1, 50]),
    st.booleans(),
)
policies = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["Pods", "Percent"]),
            "value": st.integers(1, 200),
            "periodSeconds": st.integers(1, 600),
        }
    ),
    min_size=1,
    max_size=3,
)
rules = st.fixed_dictionaries(
    {
        "stabilizationWindowSeconds": st.integers(0, 600),
        "selectPolicy": st.sampled_from(["Max", "Min", "Disabled"]),
        "policies": policies,
    }
)


@st.composite
def specs(draw: st.DrawFn) -> Autoscaling:
    least = draw(st.integers(0, 10))
    return Autoscaling.model_validate(
        {
            "minReplicas": least,
            "maxReplicas": max(least, 1) + draw(st.integers(0, 30)),
            "tolerance": draw(st.floats(0, 1)),
            "freezeLoopShare": draw(st.floats(0, 1)),
            "behavior": {"scaleUp": draw(rules), "scaleDown": draw(rules)},
        }
    )


targets = st.none() | st.integers(1, 100)
histories = st.lists(st.tuples(looks, targets, st.floats(0.1, 200)), min_size=1, max_size=20)


@given(specs(), st.integers(1, 60), histories)
def test_a_decision_is_between_the_bounds_and_follows_from_its_inputs_alone(
    given_spec: Autoscaling, start: int, history: list[tuple[Look, int | None, float]]
) -> None:
    now, memory = 0.0, begin(start, 0.0)
    for look, target, wait in history:
        now += wait
        decision, after = decide(given_spec, memory, look, target, now)
        assert given_spec.min_replicas <= decision.replicas <= given_spec.max_replicas
        assert decide(given_spec, memory, look, target, now) == (decision, after)
        assert after.replicas == decision.replicas
        assert len(after.wanted) <= len(memory.wanted) + 1
        memory = after


@given(specs(), st.integers(1, 60), st.integers(0, 30), targets)
def test_silence_moves_nothing_but_into_the_bounds(
    given_spec: Autoscaling, current: int, silent: int, target: int | None
) -> None:
    decision = first(given_spec, current, Look((), silent), target)

    assert decision.replicas == bounded(given_spec, current)


@given(st.integers(1, 40), looks, st.integers(1, 100), st.integers(1, 12))
def test_what_is_not_known_never_asks_for_fewer_than_a_full_pod_would(
    current: int, look: Look, target: int, lost: int
) -> None:
    known = replace(look, heard=(*look.heard, *[PodLoad(running=target)] * lost), silent=0)
    lossy = replace(look, silent=lost)

    assert recommend(lossy, target, current, 0.0) >= min(
        current, recommend(known, target, current, 0.0)
    )


@given(specs(), st.integers(1, 60), looks, st.integers(1, 100))
def test_what_is_frozen_is_never_scaled_up_beyond_the_minimum(
    given_spec: Autoscaling, current: int, look: Look, target: int
) -> None:
    decision = first(given_spec, current, look, target)

    if look.loop_share > given_spec.freeze_loop_share:
        assert decision.replicas <= max(current, given_spec.min_replicas)


@given(specs(), policies.map(lambda some: some[0]), st.integers(1, 40), histories)
def test_replicas_rise_no_faster_than_their_policy_allows(
    given_spec: Autoscaling,
    policy: dict[str, object],
    start: int,
    history: list[tuple[Look, int | None, float]],
) -> None:
    fast = spec(
        minReplicas=given_spec.min_replicas,
        maxReplicas=given_spec.max_replicas,
        behavior={"scaleUp": {"policies": [policy]}},
    )
    (rule,) = fast.behavior.scale_up.policies
    now, memory = 0.0, Memory(bounded(fast, start))
    past = [(now, memory.replicas)]
    for look, target, wait in history:
        now += wait
        before = memory.replicas
        _, memory = decide(fast, memory, look, target, now)
        known = [count for at, count in past if at <= now - rule.period_seconds]
        begun = known[-1] if known else past[0][1]
        added = rule.value if rule.type == "Pods" else -(-begun * rule.value // 100)
        assert memory.replicas <= max(before, begun + added)
        past.append((now, memory.replicas))


@given(st.integers(0, 300), st.integers(1, 20), st.floats(0, 0.5))
def test_a_load_that_does_not_change_settles_once_and_for_all(
    load: int, start: int, tolerance: float
) -> None:
    path = followed(spec(tolerance=tolerance), start, [load] * 80)

    assert len(set(path[30:])) == 1
    changes = [after - before for before, after in zip([start, *path], path, strict=False)]
    moved = [change for change in changes if change]
    assert len({change > 0 for change in moved}) <= 1, "never there and back"


@given(looks, st.integers(1, 100), st.integers(1, 40), st.booleans())
def test_the_load_for_another_autoscaler_never_moves_it_by_what_is_not_known(
    look: Look, target: int, current: int, frozen: bool
) -> None:
    load = polled_load(look, target, current, frozen=frozen)

    if load is None:
        assert not look.heard
    elif not look.heard:
        assert load == look.held > 0
    elif load > target * current:
        assert not frozen
        assert load == look.demand(target)
    else:
        assert load >= min(look.demand(target), target * current)
        assert load or not look.active


@given(looks, st.integers(1, 100), st.booleans())
def test_an_endpoint_that_sleeps_has_the_load_of_those_that_wait(
    look: Look, target: int, frozen: bool
) -> None:
    asleep = replace(look, heard=())

    assert polled_load(asleep, target, 0, frozen=frozen) == (None if look.silent else look.held)


@given(specs(), st.integers(1, 60), histories)
def test_nobody_falls_asleep_while_anything_is_asked_or_not_known(
    given_spec: Autoscaling, start: int, history: list[tuple[Look, int | None, float]]
) -> None:
    now, memory = 0.0, begin(start, 0.0)
    for look, target, wait in history:
        now += wait
        decision, memory = decide(given_spec, memory, look, target, now)
        if not decision.replicas:
            assert look.idle or (not look.held and memory.wanted[-1].replicas == 0)


def bounded(given_spec: Autoscaling, replicas: int) -> int:
    return min(max(replicas, given_spec.min_replicas), given_spec.max_replicas)
