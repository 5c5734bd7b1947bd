"""The scaler: what it looks at, what it remembers, and what of it is told."""

from typing import Any

import pytest

from builders import (
    EARLIER,
    NAMESPACE,
    UID,
    next_version,
    ready_pod,
    resource,
    resource_body,
)
from mistral_operator.api import AutoscalingStatus, Effective, ScalingReason, Status
from mistral_operator.control.scaler import Loads
from mistral_operator.kube.objects import Key
from mistral_operator.scale_to_zero import Activators
from scaling_operator import AT_ONCE, KEY, PERIOD, SPEC, Operator


def test_an_endpoint_begins_with_its_replicas_within_the_bounds() -> None:
    for requested, began in ((1, 1), (3, 3), (50, 8)):
        operator = Operator({**SPEC, "replicas": requested})
        status = operator.reconcile()

        assert status is not None
        assert (status.replicas, status.reason) == (began, ScalingReason.STARTED)


def test_a_new_operator_goes_on_from_the_status() -> None:
    status = AutoscalingStatus(replicas=5, reason="ScaledUp", message="before", time=EARLIER)
    operator = Operator(previous=Status(autoscaling=status))

    assert operator.reconcile() == status, "nothing is written after a restart"
    assert operator.look(times=3) == [], "though no pod was heard yet"
    assert operator.replicas() == 5


def test_a_load_adds_replicas_and_queues_the_resource() -> None:
    operator = Operator()
    operator.reconcile()

    assert operator.look(say=lambda: operator.hear(running=20, waiting=5)) == [KEY]

    status = operator.reconcile()
    assert status is not None
    assert (status.replicas, status.reason) == (3, ScalingReason.SCALED_UP)
    assert (status.load, status.running, status.waiting, status.looping) == (25, 20, 5, 0)
    assert status.target_in_flight == 10
    assert operator.scaler.collector.decisions[KEY].replicas == 3


def test_a_steady_load_is_no_news_however_it_moves_about_the_target() -> None:
    operator = Operator()
    operator.look(say=lambda: operator.hear(running=25))
    operator.replicas()
    operator.look(say=lambda: operator.hear(running=25))
    assert operator.replicas() == 3

    for number in range(40):
        running = 25 + number % 5
        assert operator.look(say=lambda running=running: operator.hear(running=running)) == []  # type: ignore[misc]


def test_a_reason_is_reported_when_it_lasts() -> None:
    operator = Operator({"autoscaling": {"maxReplicas": 1, "targetInFlight": 10}})
    operator.reconcile()

    assert operator.look(3, lambda: operator.hear(running=30)) == [], "a short peak is no news"
    assert operator.look(1, lambda: operator.hear(running=10)) == []
    assert operator.look(5, lambda: operator.hear(running=30)) == [KEY]

    status = operator.reconcile()
    assert status is not None
    assert (status.replicas, status.reason) == (1, ScalingReason.AT_MAXIMUM)
    assert operator.look(20, lambda: operator.hear(running=30)) == [], "once is enough"
    assert operator.look(5, lambda: operator.hear(running=10)) == [KEY]


def test_a_start_is_no_news_and_silence_is() -> None:
    operator = Operator()
    operator.reconcile()
    assert operator.look(20) == [], "no pod is ready yet"

    operator.store.pods.put(ready_pod())
    assert operator.look(5) == [KEY]

    status = operator.reconcile()
    assert status is not None
    assert (status.replicas, status.reason, status.silent_pods) == (1, ScalingReason.NO_SIGNALS, 1)


def test_a_status_of_a_newer_operator_is_gone_on_from() -> None:
    status = AutoscalingStatus(replicas=3, reason="Foreseen", time=EARLIER)
    operator = Operator(previous=Status(autoscaling=status))

    assert operator.replicas() == 3


def test_loops_freeze_and_the_metric_says_so_at_once() -> None:
    operator = Operator()
    operator.reconcile()

    operator.look(1, lambda: operator.hear(running=60, waiting=9, looping=50))

    assert operator.scaler.collector.decisions[KEY].frozen
    assert operator.look(4, lambda: operator.hear(running=60, waiting=9, looping=50)) == [KEY]
    status = operator.reconcile()
    assert status is not None
    assert (status.replicas, status.reason, status.looping) == (1, ScalingReason.FROZEN, 50)


def test_a_pod_that_answered_a_minute_ago_is_silent() -> None:
    operator = Operator()
    operator.reconcile()
    operator.hear(running=5)

    operator.look(2)
    assert operator.scaler.collector.decisions[KEY].load == 5, "one lost answer is nothing"
    operator.look(2)
    assert operator.scaler.collector.decisions[KEY].load is None
    assert operator.scaler.collector.decisions[KEY].sample.unreported == 1


def test_a_pod_that_is_not_ready_or_going_does_not_count() -> None:
    operator = Operator()
    operator.reconcile()
    operator.hear("small-1", running=5)
    operator.hear("small-2", running=7)
    operator.store.pods.put(ready_pod("small-2", deletionTimestamp=EARLIER))

    operator.look()

    assert operator.scaler.collector.decisions[KEY].load == 5


def test_the_target_follows_from_the_cache_of_the_engine() -> None:
    operator = Operator({"autoscaling": {"maxReplicas": 8, "behavior": AT_ONCE}})
    operator.previous = Status(effective=Effective(kv_cache_tokens=40_960))
    operator.reconcile()

    operator.look(say=lambda: operator.hear(running=30))

    assert operator.scaler.collector.decisions[KEY].target == 10
    assert operator.replicas() == 3


def test_the_target_is_known_once_the_first_engine_has_said_it() -> None:
    operator = Operator({"autoscaling": {"maxReplicas": 8, "behavior": AT_ONCE}})
    operator.reconcile()
    operator.look(say=lambda: operator.hear(running=30))
    assert operator.replicas() == 1

    status = {"effective": {"kvCacheTokens": 40_960}}
    body = {**resource_body(operator.spec, resourceVersion=next_version()), "status": status}
    operator.store.resources.put(body)
    operator.look(say=lambda: operator.hear(running=30))

    assert operator.replicas() == 3


def test_new_bounds_count_at_once() -> None:
    operator = Operator()
    assert operator.replicas() == 1

    operator.edit({"autoscaling": {"minReplicas": 4}})

    assert operator.replicas() == 4


def test_what_others_write_to_the_scale_subresource_is_not_followed() -> None:
    operator = Operator()
    assert operator.replicas() == 1

    operator.edit({"replicas": 7})

    assert operator.replicas() == 1


@pytest.mark.parametrize("edit", [{"replicas": 0}, {"suspend": True}])
def test_an_endpoint_that_is_stopped_stays_so_and_begins_anew(edit: dict[str, Any]) -> None:
    operator = Operator({**SPEC, "replicas": 2})
    assert operator.replicas() == 2

    operator.edit(edit)
    status = operator.reconcile()
    assert status is not None
    assert (status.replicas, status.reason) == (0, ScalingReason.STOPPED)
    assert operator.look(5) == []
    assert operator.reconcile() == status

    operator.edit({"replicas": 3, "suspend": False})
    assert operator.replicas() == 3


@pytest.mark.parametrize(
    "spec", [{}, {"autoscaling": {"maxReplicas": 8, "driver": "External"}}], ids=["none", "other"]
)
def test_an_endpoint_of_another_autoscaler_is_left_alone(spec: dict[str, Any]) -> None:
    operator = Operator(spec)

    assert operator.reconcile() is None
    assert operator.look(say=lambda: operator.hear(running=90)) == []
    assert operator.scaler.period_of(KEY) == (PERIOD if spec else None)


SLEEPER = {"autoscaling": {**SPEC["autoscaling"], "minReplicas": 0}}
WINDOW_SECONDS = 300


def sleeper(**options: Any) -> Operator:
    """Return an operator of an endpoint that may scale to zero, with a ready activator."""
    operator = Operator(SLEEPER, **options)
    operator.activators.current = Activators(("10.0.0.9",))
    return operator


def at_zero() -> Operator:
    """Return an operator of an endpoint that is scaled to zero."""
    status = AutoscalingStatus(replicas=0, reason="ScaledDown", time=EARLIER)
    operator = sleeper(previous=Status(autoscaling=status))
    assert operator.replicas() == 0
    return operator


def idle_for(operator: Operator, seconds: float) -> None:
    """Let an idle pod say so for some time."""
    operator.look(int(seconds / PERIOD), say=lambda: operator.hear(running=0))


def test_an_idle_endpoint_scales_to_zero_after_its_window() -> None:
    operator = sleeper()
    assert operator.replicas() == 1

    idle_for(operator, WINDOW_SECONDS - PERIOD)
    assert operator.replicas() == 1

    idle_for(operator, 4 * PERIOD)
    assert operator.replicas() == 0


def test_a_request_between_two_polls_keeps_the_last_replica() -> None:
    operator = sleeper()
    operator.replicas()
    idle_for(operator, WINDOW_SECONDS - PERIOD)

    operator.hear(running=0)
    operator.line().last_busy_at = operator.now
    idle_for(operator, WINDOW_SECONDS - PERIOD)

    assert operator.replicas() == 1


def test_without_an_activator_one_replica_stays_one_and_zero_stays_zero() -> None:
    operator = sleeper()
    operator.replicas()
    operator.activators.current = Activators()
    idle_for(operator, 2 * WINDOW_SECONDS)
    assert operator.replicas() == 1

    operator = at_zero()
    operator.activators.current = Activators()
    operator.look(5)
    assert operator.replicas() == 0


def test_queued_requests_start_a_replica_at_once() -> None:
    operator = at_zero()
    assert operator.look(3) == []

    operator.activators.current = Activators(("10.0.0.9",), held={KEY: 12})
    operator.scaler.decide_now(KEY)

    assert operator.queued == [KEY]
    assert operator.replicas() == 2


@pytest.mark.parametrize("driver", ["Operator", "External"])
def test_requests_that_wait_for_the_last_replica_to_be_replaced_are_no_load(driver: str) -> None:
    autoscaling = {"maxReplicas": 8, "targetInFlight": 10, "driver": driver}
    operator = Operator({"autoscaling": autoscaling})
    operator.activators.current = Activators(("10.0.0.9",), held={KEY: 200})

    operator.look(5)

    assert operator.scaler.reading(KEY) is None, "nothing reports a load"
    if driver == "Operator":
        assert operator.replicas() == 1


def test_queued_requests_for_an_unknown_endpoint_change_nothing() -> None:
    operator = at_zero()

    operator.scaler.decide_now(Key(NAMESPACE, "other"))

    assert operator.queued == []


def test_an_endpoint_may_begin_at_zero() -> None:
    operator = Operator({**SLEEPER, "replicas": 0})

    assert operator.replicas() == 0


def test_an_endpoint_that_was_stopped_resumes_with_a_replica() -> None:
    operator = sleeper()
    operator.edit({"suspend": True})
    assert operator.replicas() == 0

    operator.edit({"suspend": False})

    assert operator.replicas() == 1


@pytest.mark.parametrize(
    ("held", "target", "replicas"), [(0, 10, 0.0), (5, 10, 0.5), (0, None, 0.0), (5, None, 1.0)]
)
def test_another_autoscaler_learns_of_those_that_wait(
    held: int, target: int | None, replicas: float
) -> None:
    autoscaling = {"minReplicas": 0, "maxReplicas": 4, "driver": "KEDA", "targetInFlight": target}
    operator = Operator({"replicas": 0, "autoscaling": autoscaling})
    operator.activators.current = Activators(("10.0.0.9",), held={KEY: held})

    reading = operator.scaler.reading(KEY)

    assert reading is not None
    assert (reading.replicas, reading.held) == (replicas, held)


@pytest.mark.parametrize(
    ("least", "activators", "load"), [(0, (), 1), (0, ("10.0.0.9",), 0), (1, (), 0)]
)
def test_another_autoscaler_finds_no_idle_endpoint_where_nothing_would_scale_from_zero(
    least: int, activators: tuple[str, ...], load: int
) -> None:
    autoscaling = {"minReplicas": least, "maxReplicas": 4, "driver": "KEDA", "targetInFlight": 10}
    operator = Operator({"autoscaling": autoscaling})
    operator.activators.current = Activators(activators)
    operator.hear(running=0)

    reading = operator.scaler.reading(KEY)

    assert reading is not None
    assert reading.load == load


def test_another_autoscaler_learns_nothing_of_an_endpoint_that_starts() -> None:
    autoscaling = {"minReplicas": 0, "maxReplicas": 4, "driver": "KEDA"}

    assert Operator({"replicas": 1, "autoscaling": autoscaling}).scaler.reading(KEY) is None


def test_a_resource_that_is_gone_is_forgotten() -> None:
    operator = Operator()
    operator.reconcile()
    operator.look()
    assert operator.scaler.period_of(KEY) == PERIOD

    operator.store.resources.remove(resource_body(uid=UID))
    operator.look()

    assert operator.scaler.period_of(KEY) is None
    assert KEY not in operator.scaler.collector.decisions


def test_a_resource_made_anew_under_its_old_name_begins_anew() -> None:
    operator = Operator()
    operator.look(say=lambda: operator.hear(running=70))
    operator.replicas()
    operator.look(say=lambda: operator.hear(running=70))
    assert operator.replicas() > 1

    operator.store.pods.remove(ready_pod("small-1"))
    other = resource(SPEC, uid="another")

    status = operator.scaler.decision_for(other, Status())
    assert status is not None
    assert status.replicas == 1


# --- The load, for another autoscaler -------------------------------------------------------------

KEDA: dict[str, Any] = {"autoscaling": {"maxReplicas": 4, "driver": "KEDA", "targetInFlight": 10}}


def test_the_load_is_reported_in_replicas_with_what_it_is_made_of() -> None:
    operator = Operator(KEDA)
    loads = Loads()
    assert loads(*KEY) == "this is a standby replica of the operator"

    loads.scaler = operator.scaler
    operator.hear(running=15, waiting=5)

    reading = loads(*KEY)
    assert not isinstance(reading, str)
    assert (reading["replicas"], reading["load"], reading["target"]) == (2.0, 20, 10)


UNKNOWN_LOADS: dict[str, dict[str, Any]] = {
    "no autoscaling": {},
    "a spec that cannot be read": {"autoscaling": {"maxReplicas": "many"}},
    "a target that no engine has reported": {"autoscaling": {"maxReplicas": 4, "driver": "KEDA"}},
}


@pytest.mark.parametrize("spec", UNKNOWN_LOADS.values(), ids=UNKNOWN_LOADS)
def test_a_load_that_is_not_known_is_no_number(spec: dict[str, Any]) -> None:
    operator = Operator(spec)
    operator.hear(running=15)

    assert Loads(operator.scaler)(*KEY) == "no ready pod reports its load"
    assert operator.scaler.reading(Key(NAMESPACE, "other")) is None


def test_an_edit_that_cannot_be_read_leaves_the_decision_as_it_is() -> None:
    operator = Operator()
    assert operator.replicas() == 1

    operator.edit({"autoscaling": {"maxReplicas": "many"}})

    assert operator.look(3, lambda: operator.hear(running=90)) == []


def test_an_edit_counts_at_the_next_look_if_no_reconciliation_was_sooner() -> None:
    operator = Operator()
    assert operator.replicas() == 1
    operator.hear(running=5)

    operator.edit({"autoscaling": {"minReplicas": 4}})

    assert operator.look(say=lambda: operator.hear(running=5)) == [KEY]
    assert operator.replicas() == 4
