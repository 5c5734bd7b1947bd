"""What holds of every decision, whatever the spec and the load."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mistral_operator.api import Autoscaling
from mistral_operator.autoscaling import (
    Look,
    Memory,
    PodLoad,
    begin,
    decide,
    polled_load,
    recommend,
)
from operator_autoscaling_cases import (
    bounded,
    first,
    followed,
    histories,
    looks,
    policies,
    spec,
    specs,
    targets,
)


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
