"""What the data of one tenant does to the code, the others are served."""

import asyncio
import logging
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from api_server import ApiServer
from builders import merged, resource_body, signal
from mistral_operator.api import Condition, Oom, OomTotal, ScalingReason, Status
from mistral_operator.autoscaling import Decision
from mistral_operator.control.collectors import FleetCollector, Reported, ScalingCollector
from mistral_operator.control.scaler import Loads
from mistral_operator.isolation import Isolation
from mistral_operator.kube import kinds
from mistral_operator.kube.objects import Body, Key
from mistral_operator.signals.activators import keys_scaling_to_zero
from mistral_operator.watch.resync import Resync
from mistral_operator.watch.store import Store
from mistral_server.contract import SignalDocument
from scaling_operator import KEY, SPEC, Operator

HUGE = 10**400
"""More than a float holds. Models reject it, so the tests get it past them."""

EVIL = Key("evil", "small")


def failures(part: str) -> float:
    """Return how many failures of a part were contained."""
    labels = {"part": part}
    return REGISTRY.get_sample_value("mistral_operator_isolated_failures_total", labels) or 0.0


def test_a_failure_is_counted_each_time_and_logged_once_until_the_key_works_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    isolation = Isolation("test")

    def fail(key: str, message: str) -> None:
        with isolation.of(key):
            raise OverflowError(message)

    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            fail("a", "too large")
        fail("b", "too large")
        fail("a", "something else")
        with isolation.of("a"):
            pass
        fail("a", "something else")

    assert failures("test") == 6
    assert [one.rpartition(": cannot handle ")[2] for one in caplog.messages] == [
        "a: OverflowError: too large",
        "b: OverflowError: too large",
        "a: OverflowError: something else",
        "a: OverflowError: something else",
    ]


def test_a_log_of_failures_does_not_grow_with_the_keys() -> None:
    isolation = Isolation("many")
    for number in range(3000):
        with isolation.of(number):
            raise ValueError

    assert len(isolation._logged) == 1000


async def test_a_cancellation_is_not_contained() -> None:
    isolation = Isolation("cancelled")

    async def wait() -> None:
        with isolation.of("a"):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert failures("cancelled") == 0


def scaled(namespace: str) -> dict[str, Any]:
    """Return a resource with autoscaling."""
    body = resource_body(SPEC)
    return merged(body, {"metadata": {"namespace": namespace, "uid": f"uid-of-{namespace}"}})


def forged(**numbers: Any) -> SignalDocument:
    """Return signals with numbers that no model takes."""
    return SignalDocument.model_construct(**{**dict(signal()), **numbers})


def test_a_number_beyond_a_float_does_not_stop_autoscaling() -> None:
    operator = Operator()
    operator.reconcile()
    before = failures("autoscaling")

    operator.hear(running=20, waiting=5)
    operator.line().document = forged(running=HUGE)
    operator.now += 15
    operator.scaler.look_at_all()
    operator.scaler.decide_now(KEY)

    assert failures("autoscaling") == before + 2
    assert operator.queued == []
    assert operator.look(say=lambda: operator.hear(running=20, waiting=5)) == [KEY]


def test_a_load_that_cannot_be_computed_is_an_unknown_load() -> None:
    operator = Operator()
    operator.hear()
    operator.line().document = forged(running=HUGE)

    assert Loads(operator.scaler)(*KEY) == "no ready pod reports its load"


def test_a_number_beyond_a_float_does_not_hide_the_metrics_of_the_others() -> None:
    fleet, scaling, registry = FleetCollector(), ScalingCollector(), CollectorRegistry()
    condition = Condition(type="Ready", status="True", reason="Ready", last_transition_time="")
    total = OomTotal.model_construct(failure="HostOom", count=HUGE)
    evil = Status.model_construct(
        replicas=HUGE, ready_replicas=0, conditions=[], oom=Oom.model_construct(totals=[total])
    )
    fleet.statuses[EVIL] = Reported.of(evil, 1)
    good = Status(conditions=[condition], replicas=2)
    fleet.statuses["good", "small"] = Reported.of(good, 2)
    for key, replicas in ((EVIL, HUGE), (Key("good", "small"), 3)):
        scaling.decisions[key] = Decision(replicas, ScalingReason.ON_TARGET)
    registry.register(fleet)
    registry.register(scaling)

    text = generate_latest(registry).decode()

    assert 'mistral_deployment_replicas{name="small",namespace="good",state="existing"} 2.0' in text
    assert 'desired_replicas{name="small",namespace="good"} 3.0' in text
    assert 'oom_events_total{class="HostOom",name="small",namespace="good"} 0.0' in text


@pytest.mark.parametrize("spec", [None, {}, {"autoscaling": None}, {"autoscaling": "x"}, [], 5])
def test_a_spec_that_is_no_spec_does_not_stop_the_search_for_those_scaled_to_zero(
    spec: Any,
) -> None:
    store = Store(())
    store.resources.put({**scaled("evil"), "spec": spec})
    good = scaled("good")
    store.resources.put(merged(good, {"spec": {"autoscaling": {"minReplicas": 0}}}))

    assert keys_scaling_to_zero(store) == [Key("good", "small")]


class Sink:
    """Cannot handle the objects of one namespace."""

    def __init__(self) -> None:
        self.handled: list[Key] = []
        self.listed: set[Key] = set()

    def on_event(self, kind: kinds.Kind, body: Body, *, deleted: bool) -> None:
        """Handle an object."""
        key = Key(body["metadata"]["namespace"], body["metadata"]["name"])
        if key == EVIL:
            raise OverflowError
        self.handled.append(key)

    def replace(
        self, kind: kinds.Kind, listed: set[Key], as_of: int, namespace: str | None = None
    ) -> None:
        """Handle the end of a list."""
        self.listed = listed


async def test_an_object_that_cannot_be_read_does_not_stop_a_list() -> None:
    api, sink = ApiServer(), Sink()
    api.answer = {
        "items": [scaled("evil"), scaled("good")],
        "metadata": {"resourceVersion": "7"},
    }
    async with api.cluster() as cluster:
        await Resync(cluster, sink, {kinds.RESOURCE: None}, ()).once()

    assert sink.handled == [Key("good", "small")]
    assert sink.listed == {EVIL, Key("good", "small")}, "what is there is not taken for deleted"
