"""The endpoint of each port of the activator, and the report of queued requests."""

import asyncio
from typing import Any

import pytest

from builders import NAME, NAMESPACE, next_version
from endpoint_slices import KEY, TERMS, mapped, our_slice, slice_body
from mistral_operator.activator.endpoints import (
    BELIEF_SECONDS,
    Endpoint,
    Endpoints,
    LimitExceeded,
)
from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import key_of
from mistral_operator.scale_to_zero import EndpointReport, Terms

OTHER_TERMS = Terms(model="other", max_wait_seconds=9, max_requests=9)
PATIENT_TERMS = Terms(model="small", max_wait_seconds=300, max_requests=2)


class Watched:
    """Endpoints, and how often ports may have changed."""

    def __init__(self, *bodies: Any) -> None:
        self.changes = 0
        self.endpoints = Endpoints(self.count)
        self.endpoints.set_ports({20_000: mapped()})
        self.see(*bodies)

    def count(self) -> None:
        self.changes += 1

    def see(self, *bodies: Any, deleted: bool = False) -> None:
        for body in bodies:
            self.endpoints.on_event(kinds.ENDPOINT_SLICE, body, deleted=deleted)

    @property
    def one(self) -> Endpoint:
        """The endpoint at the first port."""
        endpoint = self.endpoints.by_port(20_000)
        assert endpoint is not None
        return endpoint


def test_a_port_identifies_the_endpoint_whose_slice_has_it() -> None:
    watched = Watched(our_slice("10.0.0.9"), slice_body("10.0.1.1", "10.0.1.2"))

    assert watched.endpoints.ports() == {20_000}
    assert watched.endpoints.by_port(20_001) is None
    assert (watched.one.key, watched.one.terms) == (KEY, TERMS)
    assert watched.one.targets == ("10.0.1.1:8000", "10.0.1.2:8000")


def test_an_address_of_the_activator_is_not_a_replica() -> None:
    assert Watched(our_slice("10.0.0.9")).one.targets == ()


def test_a_replica_that_is_not_ready_is_not_a_target() -> None:
    assert Watched(our_slice(), slice_body("10.0.1.1", ready=False)).one.targets == ()


@pytest.mark.parametrize(
    ("conditions", "targets"),
    [
        ({"serving": True, "terminating": False}, ("10.0.1.1:8000",)),
        ({"serving": False, "terminating": False}, ()),
        ({"serving": True, "terminating": True}, ()),
    ],
    ids=["serving", "starting", "stopping"],
)
def test_a_service_that_publishes_all_pods_says_of_each_that_it_is_ready(
    conditions: dict[str, bool], targets: tuple[str, ...]
) -> None:
    body = slice_body("10.0.1.1")
    body["endpoints"][0]["conditions"] |= conditions

    assert Watched(our_slice(), body).one.targets == targets


def test_pods_of_a_router_are_no_replicas() -> None:
    labels = slice_body()["metadata"]["labels"] | {names.LABEL_COMPONENT: names.ROUTER}

    watched = Watched(our_slice(), slice_body("10.0.1.1", labels=labels))

    assert watched.one.targets == ()
    assert not watched.endpoints.count_ignored(), "it is none of a tenant"


def test_an_ipv6_address_is_bracketed_as_in_urls() -> None:
    assert Watched(our_slice(), slice_body("fd00::1")).one.targets == ("[fd00::1]:8000",)


def test_a_port_stays_open_when_the_slice_of_the_activator_is_empty() -> None:
    watched = Watched(our_slice("10.0.0.9"))

    watched.see(our_slice())

    assert watched.endpoints.ports() == {20_000}, "connections may still arrive"


def test_an_endpoint_that_left_the_map_has_no_port() -> None:
    watched = Watched(our_slice("10.0.0.9"))

    watched.endpoints.set_ports({})

    assert watched.endpoints.ports() == set()
    assert watched.endpoints.by_port(20_000) is None


def test_a_deleted_slice_closes_no_port() -> None:
    watched, body = Watched(), our_slice("10.0.0.9")
    watched.see(body)

    watched.see(body, deleted=True)

    assert watched.endpoints.ports() == {20_000}


def test_a_list_reveals_a_deletion_that_the_watch_missed() -> None:
    watched, ours = Watched(slice_body("10.0.1.1")), our_slice("10.0.0.9")
    watched.see(ours)

    watched.endpoints.replace(kinds.ENDPOINT_SLICE, {key_of(ours)}, as_of=int(next_version()))

    assert watched.one.targets == ()


def test_a_changed_port_replaces_the_old_one_and_keeps_the_replicas() -> None:
    watched = Watched(our_slice("10.0.0.9"), slice_body("10.0.1.1"))

    watched.endpoints.set_ports({20_007: mapped()})

    assert watched.endpoints.ports() == {20_007}
    moved = watched.endpoints.by_port(20_007)
    assert moved is not None
    assert moved.targets == ("10.0.1.1:8000",)


def test_changed_terms_apply_to_the_same_queue() -> None:
    watched = Watched()
    endpoint = watched.one

    with endpoint.slot():
        watched.endpoints.set_ports({20_000: mapped(terms=OTHER_TERMS)})

        assert watched.one is endpoint
        assert (endpoint.held, endpoint.terms) == (1, OTHER_TERMS)


async def test_a_request_that_is_queued_at_a_closed_port_still_gets_its_replica() -> None:
    watched = Watched()
    pending = asyncio.create_task(watched.one.ready_target())
    await asyncio.sleep(0)

    watched.see(slice_body("10.0.1.1"))
    watched.endpoints.set_ports({})

    assert await pending == "10.0.1.1:8000"


def test_the_report_has_queued_requests_and_ready_replicas() -> None:
    watched = Watched(our_slice("10.0.0.9"))
    assert watched.endpoints.document().endpoints == ()

    with watched.one.slot():
        reports = watched.endpoints.document().endpoints
    assert reports == (EndpointReport(namespace=NAMESPACE, name=NAME, held=1),)

    for ours in (our_slice("10.0.0.9"), our_slice()):
        # Also when it is off the request path: otherwise it would be put there again.
        watched.see(ours, slice_body("10.0.1.1"))
        reports = watched.endpoints.document().endpoints
        assert reports == (EndpointReport(namespace=NAMESPACE, name=NAME, targets=1),)


def test_the_terms_limit_the_number_of_slots() -> None:
    endpoint = Watched(our_slice()).one

    with endpoint.slot(), endpoint.slot(), pytest.raises(LimitExceeded), endpoint.slot():
        pass

    assert endpoint.held == 0


async def test_targets_are_used_round_robin() -> None:
    endpoint = Watched(our_slice(), slice_body("10.0.1.1", "10.0.1.2")).one

    chosen = [await endpoint.ready_target() for _ in range(4)]

    assert sorted(chosen) == ["10.0.1.1:8000"] * 2 + ["10.0.1.2:8000"] * 2


def test_retry_after_is_when_a_start_should_be_complete() -> None:
    now = [100.0]
    endpoint = Endpoint(KEY, PATIENT_TERMS, 20_000, clock=lambda: now[0])
    assert endpoint.retry_after() == 60, "the default until a start was measured"

    with endpoint.slot():
        now[0] += 200
        endpoint.update(("10.0.1.1:8000",))
    endpoint.update(())
    with endpoint.slot():
        now[0] += 50
        assert endpoint.retry_after() == 150, "the last start took 200 seconds"
        now[0] += 500
        assert endpoint.retry_after() == 5


@pytest.mark.parametrize("probe", [False, True], ids=["a request", "an unknown key"])
def test_a_request_that_left_long_ago_is_not_the_beginning_of_a_start(probe: bool) -> None:
    """One request that left made Retry-After a day for every client of later starts."""
    now = [100.0]
    endpoint = Endpoint(KEY, PATIENT_TERMS, 20_000, clock=lambda: now[0])
    now[0] += BELIEF_SECONDS
    if probe:
        assert endpoint.may_probe()
    with endpoint.slot():
        now[0] += 0.5
    now[0] += 86_400
    assert endpoint.retry_after() == 60

    with endpoint.slot():
        now[0] += 90
        endpoint.update(("10.0.1.1:8000",))
    endpoint.update(())
    assert endpoint.retry_after() == 90, "the start of the second one"
    endpoint.update(("10.0.1.1:8000",))
    endpoint.update(())
    assert endpoint.retry_after() == 90, "no request waited for this one"


def test_the_start_for_an_unknown_key_is_measured_although_its_client_left() -> None:
    now = [100.0]
    endpoint = Endpoint(KEY, PATIENT_TERMS, 20_000, clock=lambda: now[0])
    now[0] += BELIEF_SECONDS
    assert endpoint.may_probe()
    with endpoint.slot(unknown=True):
        now[0] += 0.5
    now[0] += 119.5
    endpoint.update(("10.0.1.1:8000",))

    assert endpoint.retry_after() == 120


@pytest.mark.parametrize(("max_wait", "longest"), [(1, 60), (300, 300), (3600, 3600)])
def test_retry_after_is_not_much_longer_than_a_request_could_be_queued(
    max_wait: int, longest: int
) -> None:
    now = [100.0]
    terms = Terms(model="small", max_wait_seconds=max_wait, max_requests=2)
    endpoint = Endpoint(KEY, terms, 20_000, clock=lambda: now[0])
    with endpoint.slot():
        now[0] += 86_400
        endpoint.update(("10.0.1.1:8000",))
    endpoint.update(())

    assert endpoint.retry_after() == longest
