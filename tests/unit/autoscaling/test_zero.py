"""When an endpoint is scaled to zero, and when it is scaled from zero."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistral_operator.api import Autoscaling, ScalingReason
from mistral_operator.autoscaling import LoadSample, decide_replicas, initial_history, polled_load
from operator_autoscaling_cases import (
    AT_ONCE_UP,
    STEP,
    TARGET,
    at_once,
    first,
    histories,
    pods,
    samples,
    spec,
    specs,
)

ZERO = spec(minReplicas=0)
ZERO_AT_ONCE = at_once(minReplicas=0)

ZERO_CASES: dict[str, tuple[Autoscaling, int, LoadSample, int | None, ScalingReason, int, str]] = {
    "no requests": (ZERO, 0, LoadSample(), TARGET, ScalingReason.ASLEEP, 0, "the next request"),
    "one request": (
        ZERO,
        *(
            0,
            LoadSample(held=1),
            TARGET,
            ScalingReason.SCALED_UP,
            1,
            "0 to 1 replica: 1 request queued",
        ),
    ),
    "many requests": (
        ZERO,
        0,
        LoadSample(held=35),
        TARGET,
        ScalingReason.SCALED_UP,
        4,
        "35 requests queued",
    ),
    "more requests than one step may add": (
        ZERO,
        *(0, LoadSample(held=95), TARGET, ScalingReason.SCALED_UP, 4, "from 0 to 4"),
    ),
    "many requests for an engine of unknown capacity": (
        ZERO,
        *(0, LoadSample(held=35), None, ScalingReason.SCALED_UP, 1, "from 0 to 1"),
    ),
    "scaling up is disabled, and scaling from zero is not": (
        spec(minReplicas=0, behavior={"scaleUp": {"selectPolicy": "Disabled"}}),
        *(0, LoadSample(held=35), TARGET, ScalingReason.SCALED_UP, 1, "from 0 to 1"),
    ),
    "it starts": (
        ZERO,
        1,
        LoadSample(held=3),
        TARGET,
        ScalingReason.NOT_READY,
        1,
        "no pod is ready",
    ),
    "it starts with many queued requests": (
        spec(minReplicas=0, behavior=AT_ONCE_UP),
        *(1, LoadSample(held=35), TARGET, ScalingReason.SCALED_UP, 4, "35 requests queued"),
    ),
    "queued requests count once a pod is ready": (
        spec(minReplicas=0, behavior=AT_ONCE_UP),
        *(1, LoadSample(pods(10), held=9), TARGET, ScalingReason.SCALED_UP, 2, "9 waiting"),
    ),
    "idle": (
        ZERO_AT_ONCE,
        *(
            3,
            LoadSample(pods(0, 0, 0)),
            TARGET,
            ScalingReason.SCALED_DOWN,
            0,
            "all replicas are idle",
        ),
    ),
    "idle without a target": (
        ZERO_AT_ONCE,
        *(1, LoadSample(pods(0)), None, ScalingReason.SCALED_DOWN, 0, "from 1 to 0"),
    ),
    "something came and went": (
        ZERO_AT_ONCE,
        *(
            3,
            LoadSample(pods(0, 0, 0), active=True),
            TARGET,
            ScalingReason.SCALED_DOWN,
            1,
            "3 to 1",
        ),
    ),
    "one request is left": (
        ZERO_AT_ONCE,
        *(3, LoadSample(pods(0, 1, 0)), TARGET, ScalingReason.SCALED_DOWN, 1, "3 to 1"),
    ),
    "only loops are left": (
        ZERO_AT_ONCE,
        *(1, LoadSample(pods(4, looping=4)), TARGET, ScalingReason.ON_TARGET, 1, "4 looping"),
    ),
    "one without a report": (
        ZERO_AT_ONCE,
        *(2, LoadSample(pods(0), unreported=1), TARGET, ScalingReason.SCALED_DOWN, 1, "2 to 1"),
    ),
    "all without a report": (
        ZERO_AT_ONCE,
        *(
            1,
            LoadSample((), unreported=1),
            TARGET,
            ScalingReason.NO_SIGNALS,
            1,
            "no ready pod reports",
        ),
    ),
    "none is ready": (
        ZERO_AT_ONCE,
        1,
        LoadSample(),
        TARGET,
        ScalingReason.NOT_READY,
        1,
        "no pod is",
    ),
    "idle, and one has to stay": (
        at_once(),
        *(3, LoadSample(pods(0, 0, 0)), TARGET, ScalingReason.SCALED_DOWN, 1, "3 to 1"),
    ),
}


@pytest.mark.parametrize(
    ("autoscaling", "current", "sample", "target", "reason", "replicas", "fragment"),
    ZERO_CASES.values(),
    ids=ZERO_CASES,
)
def test_an_idle_endpoint_is_scaled_to_zero_and_queued_requests_scale_it_from_zero(
    autoscaling: Autoscaling,
    current: int,
    sample: LoadSample,
    target: int | None,
    reason: ScalingReason,
    replicas: int,
    fragment: str,
) -> None:
    decision = first(autoscaling, current, sample, target)

    assert (decision.reason, decision.replicas) == (reason, replicas)
    assert fragment in decision.message


def test_the_last_replica_is_removed_after_an_idle_window() -> None:
    history, zero_at = initial_history(1, 0.0), 0.0
    for step in range(1, 60):
        now = step * STEP
        sample = LoadSample(pods(0), active=now == 10 * STEP)
        decision, history = decide_replicas(ZERO, history, sample, TARGET, now)
        if not decision.replicas:
            zero_at = now
            break

    assert zero_at == 10 * STEP + 300, "one request in between restarted the window"


@given(samples, st.integers(1, 100), st.booleans())
def test_the_load_of_an_endpoint_that_is_scaled_to_zero_is_the_queued_requests(
    sample: LoadSample, target: int, frozen: bool
) -> None:
    without_pods = replace(sample, reported=())

    assert polled_load(without_pods, target, 0, frozen=frozen) == (
        None if sample.unreported else sample.held
    )


@given(specs(), st.integers(1, 60), histories)
def test_a_busy_or_unknown_endpoint_is_not_scaled_to_zero(
    autoscaling: Autoscaling, start: int, steps: list[tuple[LoadSample, int | None, float]]
) -> None:
    now, history = 0.0, initial_history(start, 0.0)
    for sample, target, wait in steps:
        now += wait
        decision, history = decide_replicas(autoscaling, history, sample, target, now)
        if not decision.replicas:
            assert sample.idle or (not sample.held and history.recommendations[-1].replicas == 0)
