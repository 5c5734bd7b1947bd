"""When an endpoint falls asleep, and what wakes it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistral_operator.api import Autoscaling, ScalingReason
from mistral_operator.autoscaling import Look, begin, decide, polled_load
from operator_autoscaling_cases import (
    AT_ONCE_UP,
    STEP,
    TARGET,
    at_once,
    first,
    histories,
    looks,
    pods,
    spec,
    specs,
)

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
            "0 to 1 replica: 1 request queued",
        ),
    ),
    "many ask": (ZERO, 0, Look(held=35), TARGET, ScalingReason.SCALED_UP, 4, "35 requests queued"),
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
        *(1, Look(held=35), TARGET, ScalingReason.SCALED_UP, 4, "35 requests queued"),
    ),
    "held requests count once a pod is ready": (
        spec(minReplicas=0, behavior=AT_ONCE_UP),
        *(1, Look(pods(10), held=9), TARGET, ScalingReason.SCALED_UP, 2, "9 waiting"),
    ),
    "idle": (
        ZERO_AT_ONCE,
        *(3, Look(pods(0, 0, 0)), TARGET, ScalingReason.SCALED_DOWN, 0, "all replicas are idle"),
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
        *(1, Look((), silent=1), TARGET, ScalingReason.NO_SIGNALS, 1, "no ready pod reports"),
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
