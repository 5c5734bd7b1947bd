"""Who may call the pods, and what they may reach."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from builders import SERVER_IMAGE, resource
from mistral_operator.api import parse_spec
from mistral_operator.api.network import Peer
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.render import NetworkDefaults, RenderContext, children

Object = dict[str, Any]

CLAIM = {"model": {"source": {"persistentVolumeClaim": {"claimName": "models"}}}}
GATEWAY = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateway"}}}
OPERATOR = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "operators"}}}
PROMETHEUS = {
    "namespaceSelector": {},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
}
EVERYONE = None


def policy(spec: Object | None = None, **defaults: Any) -> Object:
    """Return the spec of the NetworkPolicy."""
    network = NetworkDefaults(operator_namespace="operators", **defaults)
    rendered = children(resource(spec), RenderContext(SERVER_IMAGE, network=network))
    (made, *_) = [one for one in rendered if one["kind"] == "NetworkPolicy"]
    result: Object = made["spec"]
    return result


def peers(made: Object, port: int) -> list[Object] | None:
    """Return who may connect to a port, None for everyone."""
    rules = [one for one in made["ingress"] if port in {of["port"] for of in one["ports"]}]
    if any("from" not in one for one in rules):
        return EVERYONE
    return [peer for one in rules for peer in one["from"]]


def reaches(made: Object, address: str, port: int = 443) -> bool:
    """Tell whether a pod may connect to an address."""
    for rule in made["egress"]:
        if "to" not in rule or port not in {one["port"] for one in rule.get("ports", ())} | (
            set() if "ports" in rule else {port}
        ):
            continue
        for block in (one["ipBlock"] for one in rule["to"] if "ipBlock" in one):
            target = ip_address(address)
            within = target in ip_network(block["cidr"])
            if within and not any(target in ip_network(one) for one in block.get("except", ())):
                return True
    return False


def names_are_resolved(made: Object) -> bool:
    """Tell whether DNS is open, at its own port and at that of the pods of OpenShift's DNS."""
    dns = [{"port": port, "protocol": of} for port in (53, 5353) for of in ("UDP", "TCP")]
    return any(one.get("ports") == dns for one in made["egress"])


# --- Ingress --------------------------------------------------------------------------------------


def test_by_default_everyone_may_call_the_api() -> None:
    assert peers(policy(), 8000) is EVERYONE


@pytest.mark.parametrize("callers", [None, [], [GATEWAY]], ids=["everyone", "nobody", "one"])
def test_the_health_port_is_for_operator_and_prometheus(callers: list[Object] | None) -> None:
    spec = {} if callers is None else {"network": {"callers": callers}}

    assert peers(policy(spec), 8001) == [OPERATOR, PROMETHEUS]


def test_prometheus_may_be_named_by_its_namespace() -> None:
    named = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "metrics"}}}

    assert peers(policy(monitoring_namespace="metrics"), 8001) == [OPERATOR, named]


CALLERS: dict[str, tuple[Object, tuple[Peer, ...] | None, list[Object] | None]] = {
    "nobody": ({"network": {"callers": []}}, None, []),
    "named by the resource": ({"network": {"callers": [GATEWAY]}}, None, [GATEWAY]),
    "pods of the same namespace": (
        {"network": {"callers": [{"podSelector": {"matchLabels": {"app": "web"}}}]}},
        None,
        [{"podSelector": {"matchLabels": {"app": "web"}}}],
    ),
    "addresses": (
        {"network": {"callers": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}},
        None,
        [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
    ),
    "addresses but some": (
        {"network": {"callers": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.66.0.0/16"]}}]}},
        None,
        [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.66.0.0/16"]}}],
    ),
    "isolated by the installation": ({}, (), []),
    "named by the installation": ({}, (Peer.model_validate(GATEWAY),), [GATEWAY]),
    "the resource over the installation": ({"network": {"callers": [GATEWAY]}}, (), [GATEWAY]),
}


@pytest.mark.parametrize(("spec", "default", "callers"), CALLERS.values(), ids=CALLERS)
def test_callers_can_be_named(
    spec: Object, default: tuple[Peer, ...] | None, callers: list[Object]
) -> None:
    made = policy(spec, callers=default)

    assert peers(made, 8000) == [OPERATOR, PROMETHEUS, *callers]


# --- Egress ---------------------------------------------------------------------------------------

CLOSED = {
    "metadata of most clouds": "169.254.169.254",
    "metadata of Azure": "168.63.129.16",
    "metadata of Oracle": "192.0.0.192",
    "metadata of Alibaba": "100.100.100.200",
    "metadata of AWS, IPv6": "fd00:ec2::254",
    "metadata of Google, IPv6": "fd20:ce::254",
    "link-local, IPv6": "fe80::1",
    "private 10": "10.0.0.1",
    "private 172.16": "172.31.255.255",
    "private 192.168": "192.168.0.1",
    "shared 100.64": "100.64.0.1",
    "unique local": "fc00::1",
    # As an IPv6-only cluster reaches IPv4.
    "metadata of most clouds by NAT64": "64:ff9b::169.254.169.254",
    "metadata of Azure by NAT64": "64:ff9b::168.63.129.16",
    "metadata of Oracle by NAT64": "64:ff9b::192.0.0.192",
    "private 10 by NAT64": "64:ff9b::10.0.0.5",
    "private 172.16 by NAT64": "64:ff9b::172.31.255.255",
    "private 192.168 by NAT64": "64:ff9b::192.168.0.1",
    "shared 100.64 by NAT64": "64:ff9b::100.64.0.1",
}


@pytest.mark.parametrize("address", CLOSED.values(), ids=CLOSED)
@pytest.mark.parametrize("spec", [{}, {"images": {"domains": ["images.example.com"]}}])
def test_metadata_services_and_private_networks_are_closed(spec: Object, address: str) -> None:
    made = policy(spec)

    assert reaches(made, "198.51.100.7"), "otherwise this shows nothing"
    assert not reaches(made, address)


def test_public_addresses_are_open_by_nat64() -> None:
    assert reaches(policy({}), "64:ff9b::198.51.100.7")


PORTS: dict[str, tuple[Object, set[int]]] = {
    "the public hub": ({}, {443}),
    "a mirror": ({"model": {"source": {"hub": {"endpoint": "https://hub.example.com"}}}}, {443}),
    "a mirror on another port": (
        {"model": {"source": {"hub": {"endpoint": "https://hub.example.com:8443"}}}},
        {443, 8443},
    ),
    "a mirror with a port and a path": (
        {"model": {"source": {"hub": {"endpoint": "https://hub.example.com:8443/hf"}}}},
        {443, 8443},
    ),
    "a mirror without TLS": (
        {"model": {"source": {"hub": {"endpoint": "http://hub.example.com"}}}},
        {80, 443},
    ),
    "a mirror with a port beyond all": (
        {"model": {"source": {"hub": {"endpoint": "https://hub.example.com:70000"}}}},
        {443},
    ),
    "images by URL": ({**CLAIM, "images": {"domains": ["images.example.com"]}}, {80, 443}),
    "nothing remote": (CLAIM, set()),
}


@pytest.mark.parametrize(("spec", "open_ports"), PORTS.values(), ids=PORTS)
def test_only_the_ports_that_are_needed_are_open(spec: Object, open_ports: set[int]) -> None:
    made = policy(spec)

    ports = (22, 80, 443, 6443, 8443)
    assert {port for port in ports if reaches(made, "198.51.100.7", port)} == open_ports
    assert names_are_resolved(made) is bool(open_ports)


def test_a_pod_that_fetches_nothing_reaches_nothing() -> None:
    assert policy(CLAIM)["egress"] == []


MIRROR: Object = {"ipBlock": {"cidr": "10.20.0.0/16"}}


@pytest.mark.parametrize("by", ["resource", "installation"])
@pytest.mark.parametrize("spec", [{}, CLAIM], ids=["hub", "claim"])
def test_a_private_network_can_be_opened(spec: Object, by: str) -> None:
    if by == "resource":
        made = policy({**spec, "network": {"destinations": [MIRROR]}})
    else:
        made = policy(spec, destinations=(Peer.model_validate(MIRROR),))

    assert reaches(made, "10.20.3.4", port=8081)
    assert not reaches(made, "10.21.0.1", port=8081)
    assert names_are_resolved(made)


def test_a_part_of_a_destination_can_be_left_out() -> None:
    wide = {"ipBlock": {"cidr": "100.64.0.0/10", "except": ["100.66.0.0/16"]}}
    made = policy({"network": {"destinations": [wide]}})

    assert reaches(made, "100.65.0.1")
    assert not reaches(made, "100.66.0.1")
    assert not reaches(made, "100.100.100.200"), "a metadata service"


def test_a_mirror_in_the_cluster_can_be_opened() -> None:
    made = policy({"network": {"destinations": [GATEWAY]}})

    assert {"to": [GATEWAY]} in made["egress"]


@pytest.mark.parametrize(
    ("cidr", "address"),
    [
        ("0.0.0.0/0", "169.254.169.254"),
        ("0.0.0.0/0", "168.63.129.16"),
        ("100.64.0.0/10", "100.100.100.200"),
        ("fd00::/8", "fd00:ec2::254"),
        ("::/0", "fd20:ce::254"),
        ("64:ff9b::/96", "64:ff9b::169.254.169.254"),
        ("64:ff9b::/96", "64:ff9b::168.63.129.16"),
    ],
)
def test_a_wide_destination_does_not_open_metadata_services(cidr: str, address: str) -> None:
    made = policy({**CLAIM, "network": {"destinations": [{"ipBlock": {"cidr": cidr}}]}})

    assert not reaches(made, address)
    assert reaches(made, str(ip_network(cidr)[1]))


@pytest.mark.parametrize(
    "cidr",
    [
        "169.254.169.254/32",
        "169.254.0.0/16",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "100.100.100.200/32",
        "fd00:ec2::254/128",
        "fd00:ec2:0:0:0:0:0:0/32",
        "fd20:ce::254/128",
        "fe80::/64",
        "64:ff9b::a9fe:a9fe/128",
    ],
)
def test_a_destination_cannot_be_a_metadata_service(cidr: str) -> None:
    spec = {"network": {"destinations": [{"ipBlock": {"cidr": cidr}}]}}

    with pytest.raises(InvalidResource, match="credentials of the node") as refused:
        parse_spec(spec)

    assert refused.value.field == "spec.network.destinations[0]"


@pytest.mark.parametrize("cidr", ["::ffff:169.254.169.254/128", "::ffff:0:0/96"])
def test_a_range_of_ipv4_is_not_written_as_ipv6(cidr: str) -> None:
    # Network plugins may read it as either.
    with pytest.raises(InvalidResource, match="write the range of IPv4"):
        parse_spec({"network": {"destinations": [{"ipBlock": {"cidr": cidr}}]}})


ROUTER = {"podSelector": {"matchLabels": {"inference.mistral-small.io/router": "small"}}}


def test_a_router_reaches_both_ports_of_the_replicas() -> None:
    closed: Object = {"network": {"callers": []}}

    for port in (8000, 8001):
        assert ROUTER in (peers(policy(closed | {"routing": {"policy": "Prefix"}}), port) or [])
        assert ROUTER not in (peers(policy(closed), port) or [])
