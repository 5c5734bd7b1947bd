"""Properties of every decision, for any spec and load."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mistral_operator.api import Autoscaling
from mistral_operator.autoscaling import (
    LoadSample,
    PodLoad,
    ScalingHistory,
    decide_replicas,
    initial_history,
    polled_load,
    recommend,
)
from operator_autoscaling_cases import (
    bounded,
    first,
    followed,
    histories,
    policies,
    samples,
    spec,
    specs,
    targets,
)


@given(specs(), st.integers(1, 60), histories)
def test_a_decision_is_between_the_bounds_and_follows_from_its_inputs_alone(
    autoscaling: Autoscaling, start: int, steps: list[tuple[LoadSample, int | None, float]]
) -> None:
    now, history = 0.0, initial_history(start, 0.0)
    for sample, target, wait in steps:
        now += wait
        decision, after = decide_replicas(autoscaling, history, sample, target, now)
        assert autoscaling.min_replicas <= decision.replicas <= autoscaling.max_replicas
        assert decide_replicas(autoscaling, history, sample, target, now) == (decision, after)
        assert after.replicas == decision.replicas
        assert len(after.recommendations) <= len(history.recommendations) + 1
        history = after


@given(specs(), st.integers(1, 60), st.integers(0, 30), targets)
def test_missing_reports_change_replicas_only_into_the_bounds(
    autoscaling: Autoscaling, current: int, silent: int, target: int | None
) -> None:
    decision = first(autoscaling, current, LoadSample((), silent), target)

    assert decision.replicas == bounded(autoscaling, current)


@given(st.integers(1, 40), samples, st.integers(1, 100), st.integers(1, 12))
def test_unknown_load_never_needs_fewer_replicas_than_a_full_pod(
    current: int, sample: LoadSample, target: int, lost: int
) -> None:
    complete = replace(
        sample, reported=(*sample.reported, *[PodLoad(running=target)] * lost), unreported=0
    )
    lossy = replace(sample, unreported=lost)

    assert recommend(lossy, target, current, 0.0) >= min(
        current, recommend(complete, target, current, 0.0)
    )


@given(specs(), st.integers(1, 60), samples, st.integers(1, 100))
def test_a_frozen_endpoint_is_never_scaled_up_beyond_the_minimum(
    autoscaling: Autoscaling, current: int, sample: LoadSample, target: int
) -> None:
    decision = first(autoscaling, current, sample, target)

    if sample.loop_share > autoscaling.freeze_loop_share:
        assert decision.replicas <= max(current, autoscaling.min_replicas)


@given(specs(), policies.map(lambda some: some[0]), st.integers(1, 40), histories)
def test_replicas_rise_no_faster_than_their_policy_allows(
    autoscaling: Autoscaling,
    policy: dict[str, object],
    start: int,
    steps: list[tuple[LoadSample, int | None, float]],
) -> None:
    fast = spec(
        minReplicas=autoscaling.min_replicas,
        maxReplicas=autoscaling.max_replicas,
        behavior={"scaleUp": {"policies": [policy]}},
    )
    (rule,) = fast.behavior.scale_up.policies
    now, history = 0.0, ScalingHistory(bounded(fast, start))
    past = [(now, history.replicas)]
    for sample, target, wait in steps:
        now += wait
        before = history.replicas
        _, history = decide_replicas(fast, history, sample, target, now)
        records = [count for at, count in past if at <= now - rule.period_seconds]
        begun = records[-1] if records else past[0][1]
        added = rule.value if rule.type == "Pods" else -(-begun * rule.value // 100)
        assert history.replicas <= max(before, begun + added)
        past.append((now, history.replicas))


@given(st.integers(0, 300), st.integers(1, 20), st.floats(0, 0.5))
def test_a_constant_load_settles_without_oscillation(
    load: int, start: int, tolerance: float
) -> None:
    path = followed(spec(tolerance=tolerance), start, [load] * 80)

    assert len(set(path[30:])) == 1
    changes = [after - before for before, after in zip([start, *path], path, strict=False)]
    moved = [change for change in changes if change]
    assert len({change > 0 for change in moved}) <= 1, "never there and back"


@given(samples, st.integers(1, 100), st.integers(1, 40), st.booleans())
def test_unknown_load_never_changes_the_replicas_of_another_autoscaler(
    sample: LoadSample, target: int, current: int, frozen: bool
) -> None:
    load = polled_load(sample, target, current, frozen=frozen)

    if load is None:
        assert not sample.reported
    elif not sample.reported:
        assert load == sample.held > 0
    elif load > target * current:
        assert not frozen
        assert load == sample.demand(target)
    else:
        assert load >= min(sample.demand(target), target * current)
        assert load or not sample.active
