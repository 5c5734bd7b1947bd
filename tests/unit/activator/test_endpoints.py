"""Which endpoint a port of the activator means, and what it tells of those that wait."""

from typing import Any

import pytest

from builders import NAME, NAMESPACE, next_version
from endpoint_slices import KEY, TERMS, our_slice, slice_body
from mistral_operator.activator.endpoints import Endpoint, Endpoints, OverBudget
from mistral_operator.kube import kinds
from mistral_operator.kube.objects import key_of
from mistral_operator.scale_to_zero import Waiting


class Watched:
    """Endpoints, and how often ports may have changed."""

    def __init__(self, *bodies: Any) -> None:
        self.changes = 0
        self.endpoints = Endpoints(self.count)
        self.see(*bodies)

    def count(self) -> None:
        self.changes += 1

    def see(self, *bodies: Any, deleted: bool = False) -> None:
        for body in bodies:
            self.endpoints.saw(kinds.ENDPOINT_SLICE, body, deleted=deleted)

    @property
    def one(self) -> Endpoint:
        """The endpoint at the first port."""
        found = self.endpoints.at(20_000)
        assert found is not None
        return found


def test_a_port_means_the_endpoint_whose_slice_names_it() -> None:
    watched = Watched(our_slice("10.0.0.9"), slice_body("10.0.1.1", "10.0.1.2"))

    assert watched.endpoints.ports() == {20_000}
    assert watched.endpoints.at(20_001) is None
    assert (watched.one.key, watched.one.terms, watched.one.in_path) == (KEY, TERMS, True)
    assert watched.one.targets == ("10.0.1.1:8000", "10.0.1.2:8000")


def test_an_address_of_the_activator_is_no_replica() -> None:
    assert Watched(our_slice("10.0.0.9")).one.targets == ()


def test_a_replica_that_is_not_ready_is_none() -> None:
    assert Watched(our_slice(), slice_body("10.0.1.1", ready=False)).one.targets == ()


def test_a_replica_of_the_ipv6_network_is_written_as_urls_want_it() -> None:
    assert Watched(our_slice(), slice_body("fd00::1")).one.targets == ("[fd00::1]:8000",)


def test_it_is_out_of_the_path_when_its_slice_is_empty() -> None:
    watched = Watched(our_slice("10.0.0.9"))

    watched.see(our_slice())

    assert not watched.one.in_path
    assert watched.endpoints.ports() == {20_000}, "connections may still arrive"


def test_an_endpoint_whose_slice_is_gone_has_no_port() -> None:
    watched, body = Watched(), our_slice()
    watched.see(body)

    watched.see(body, deleted=True)

    assert watched.endpoints.ports() == set()


def test_a_deletion_that_nobody_told_of_is_found_by_a_list() -> None:
    watched, kept = Watched(our_slice()), slice_body("10.0.1.1")
    watched.see(kept)

    watched.endpoints.swept(kinds.ENDPOINT_SLICE, {key_of(kept)}, as_of=int(next_version()))

    assert watched.endpoints.ports() == set()


def test_another_port_is_another_door() -> None:
    watched = Watched(our_slice())

    watched.see(our_slice(port=20_007))

    assert watched.endpoints.ports() == {20_007}


@pytest.mark.parametrize("terms", ["", "{}", '{"model": 1', "null"])
def test_terms_that_somebody_broke_close_the_door_and_nothing_else(terms: str) -> None:
    watched = Watched(our_slice())

    watched.see(our_slice(terms=terms))

    assert watched.endpoints.ports() == set()


def test_the_operator_is_told_who_waits_and_whose_replicas_are_seen() -> None:
    watched = Watched(our_slice("10.0.0.9"))
    assert watched.endpoints.document().endpoints == ()

    with watched.one.place():
        told = watched.endpoints.document().endpoints
    assert told == (Waiting(namespace=NAMESPACE, name=NAME, held=1),)

    for ours in (our_slice("10.0.0.9"), our_slice()):
        # Also when it is out of the way: else it would be put there again.
        watched.see(ours, slice_body("10.0.1.1"))
        told = watched.endpoints.document().endpoints
        assert told == (Waiting(namespace=NAMESPACE, name=NAME, targets=1),)


def test_there_are_as_many_places_as_the_terms_say() -> None:
    endpoint = Watched(our_slice()).one

    with endpoint.place(), endpoint.place(), pytest.raises(OverBudget), endpoint.place():
        pass

    assert endpoint.held == 0


async def test_replicas_take_turns() -> None:
    endpoint = Watched(our_slice(), slice_body("10.0.1.1", "10.0.1.2")).one

    chosen = [await endpoint.ready() for _ in range(4)]

    assert sorted(chosen) == ["10.0.1.1:8000"] * 2 + ["10.0.1.2:8000"] * 2


def test_a_retry_is_advised_for_when_a_start_should_be_over() -> None:
    now = [100.0]
    endpoint = Endpoint(KEY, TERMS, 20_000, clock=lambda: now[0])
    assert endpoint.retry_after() == 60, "a guess, as long as none was seen"

    with endpoint.place():
        now[0] += 200
        endpoint.update(TERMS, ("10.0.1.1:8000",), in_path=True)
    endpoint.update(TERMS, (), in_path=True)
    with endpoint.place():
        now[0] += 50
        assert endpoint.retry_after() == 150, "the last start took 200 seconds"
        now[0] += 500
        assert endpoint.retry_after() == 5
