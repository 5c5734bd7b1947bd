"""EndpointSlices that a tenant wrote: they open no port and redirect no request."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from builders import NAME, NAMESPACE, next_version
from endpoint_slices import KEY, mapped, our_slice, slice_body
from mistral_operator.activator.endpoints import Endpoints
from mistral_operator.activator.slices import may_be_replica, slice_facts
from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Key

VICTIM, THIEF = KEY, Key("thief", NAME)
PORTS = {20_000: mapped(VICTIM), 20_001: mapped(THIEF)}
REPLICA = "10.0.1.1"
ODD_ADDRESSES = (
    "127.0.0.1",
    "::1",
    "0.0.0.0",  # noqa: S104 - nothing listens on it here
    "169.254.169.254",
    "fe80::1",
    "224.0.0.1",
    "255.255.255.255",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd00:ec2:0:0:0:0:0:254",
    "fd20:ce::254",
    "fd00::1%eth0",
    "fd00::1%x@metadata.google.internal",
    "metadata.google.internal",
    "10.0.0.1:8000",
    "10.0.0.1/secret",
    "user@10.0.0.1",
    "",
)
ODD_PORTS = (1, 22, 80, 443, 6443, 8001, 8080, 10250, 20_000, 65_535, None)


def hostile_slices() -> Iterator[Any]:
    """Yield slices as a tenant with all permissions in its namespace can write them."""
    for number, address in enumerate(ODD_ADDRESSES):
        yield slice_body(address, namespace="thief", name=f"address-{number}")
    for number, port in enumerate(ODD_PORTS):
        yield slice_body(REPLICA, port=port, namespace="thief", name=f"port-{number}")  # type: ignore[arg-type]
    for number, port in enumerate((20_000, 20_001, 19_999, 22_000, 80, 10250)):
        yield our_slice("10.9.9.9", port=port, namespace="thief", name=f"ours-{number}")
    fqdn = slice_body("metadata.google.internal", namespace="thief", name="fqdn")
    yield fqdn | {"addressType": "FQDN"}
    yield our_slice(namespace="thief", name="fqdn-ours") | {"addressType": "FQDN"}
    values: tuple[Any, ...] = (None, [], [{}])
    for number, (part, value) in enumerate(product(("endpoints", "ports"), values)):
        body = slice_body(REPLICA, namespace="thief", name=f"shape-{number}")
        yield body | {part: value}
    endpoints: tuple[Any, ...] = (
        {"addresses": []},
        {"addresses": None},
        {"addresses": ["10.0.0.1"], "conditions": None},
        {"addresses": ["10.0.0.1"], "conditions": {"ready": None}},
    )
    for number, endpoint in enumerate(endpoints):
        body = slice_body(namespace="thief", name=f"endpoint-{number}", port=80)
        yield body | {"endpoints": [endpoint]}
    odd: tuple[Any, ...] = (None, {}, {names.LABEL_DEPLOYMENT: "../../x"})
    for number, labels in enumerate(odd):
        yield slice_body(REPLICA, namespace="thief", name=f"labels-{number}", labels=labels)
    for number, text in enumerate(("", "{}", "null", '{"model": 1', "x" * 200_000)):
        annotations = {names.ANNOTATION_ACTIVATION: text}
        yield our_slice(namespace="thief", name=f"terms-{number}", annotations=annotations)


CORPUS = [*hostile_slices()]


def everything(*bodies: Any) -> Endpoints:
    """Return the endpoints of a thief and its victim, after some slices."""
    endpoints = Endpoints()
    endpoints.set_ports(PORTS)
    for body in bodies:
        endpoints.on_event(kinds.ENDPOINT_SLICE, body, deleted=False)
    return endpoints


def test_the_corpus_is_large_enough_to_mean_something() -> None:
    assert len(CORPUS) >= 50
    assert len({one["metadata"]["name"] for one in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("body", CORPUS, ids=[one["metadata"]["name"] for one in CORPUS])
@pytest.mark.parametrize("first", [True, False], ids=["seen first", "seen last"])
def test_a_hostile_slice_opens_no_port_and_has_no_target(body: Any, first: bool) -> None:
    body["metadata"]["resourceVersion"] = next_version()
    victims = [our_slice("10.0.0.9"), slice_body(REPLICA)]

    endpoints = everything(*([body, *victims] if first else [*victims, body]))

    assert endpoints.ports() == {20_000, 20_001}
    victim, thief = endpoints.by_port(20_000), endpoints.by_port(20_001)
    assert victim is not None
    assert thief is not None
    assert (victim.key, victim.targets) == (VICTIM, (f"{REPLICA}:8000",))
    assert thief.targets == ()


def test_all_of_them_together_change_nothing_either() -> None:
    for body in CORPUS:
        body["metadata"]["resourceVersion"] = next_version()

    endpoints = everything(*CORPUS)

    assert endpoints.ports() == {20_000, 20_001}
    thief = endpoints.by_port(20_001)
    assert thief is not None
    assert thief.targets == ()
    assert endpoints.count_ignored()["address_type"] == 2
    assert endpoints.count_ignored()["address"] > len(ODD_ADDRESSES)


def test_ignored_slices_are_logged_once_for_each_namespace_and_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bodies = [slice_body("127.0.0.1", namespace="thief", name=f"s{n}") for n in range(100)]

    everything(*bodies, slice_body(REPLICA, port=80, namespace="other"))

    why = "is ignored, since no pod of an endpoint has such an address: find out who created it"
    assert [one.message for one in caplog.records] == [
        f"EndpointSlice thief/s0 {why}",
        f"EndpointSlice other/{NAME}-x7k2 {why}",
    ]


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        *((one, False) for one in ODD_ADDRESSES),
        ("10.0.0.1", True),
        ("192.168.1.1", True),
        ("100.64.0.7", True),
        ("198.18.0.1", True),
        ("203.0.113.7", True),
        ("fd00::1", True),
        ("2001:db8::1", True),
    ],
)
def test_a_replica_has_an_address_of_a_pod(address: str, allowed: bool) -> None:
    assert may_be_replica(address, names.HTTP_PORT) is allowed


def test_one_odd_address_does_not_take_the_others_with_it() -> None:
    facts = slice_facts(slice_body(REPLICA, "127.0.0.1", namespace=NAMESPACE))

    assert (facts.targets, facts.ignored) == ((f"{REPLICA}:8000",), "address")
