"""Whatever EndpointSlices say, the activator opens mapped ports only, to addresses of pods only."""

from ipaddress import ip_address
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from builders import NAME, NAMESPACE, next_version
from endpoint_slices import KEY, mapped
from fuzz_examples import EXAMPLES
from fuzz_targets import check_address
from mistral_operator.activator.endpoints import Endpoints
from mistral_operator.activator.slices import may_be_replica
from mistral_operator.api.network import is_metadata_service
from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Key

PORTS = {20_000: mapped(KEY), 20_001: mapped(Key("thief", NAME))}
ADDRESSES = st.one_of(
    st.ip_addresses().map(str),
    st.sampled_from(["10.0.0.1", "127.0.0.1", "169.254.169.254", "fd00::1", "::ffff:127.0.0.1"]),
    st.ip_addresses(v=6, network="fd00:ec2::/120").map(lambda one: one.exploded),
    st.text(max_size=8),
    st.text(max_size=8).map("fd00::1%{}".format),
)
ENDPOINTS = st.fixed_dictionaries(
    {"addresses": st.none() | st.lists(ADDRESSES, max_size=2)},
    optional={
        "conditions": st.none()
        | st.fixed_dictionaries({}, optional={"ready": st.none() | st.booleans()})
    },
)
SLICE_PORTS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["http", "", "other"]),
        "port": st.none() | st.sampled_from([8000, 20_000]) | st.integers(1, 65_535),
    },
)
LABELS = st.dictionaries(
    st.sampled_from([names.LABEL_DEPLOYMENT, names.LABEL_SERVICE, names.LABEL_SLICE_MANAGER]),
    st.sampled_from([NAME, names.MANAGED_BY, "endpointslice-controller", ""]),
)
METADATA = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b"]), "namespace": st.sampled_from([NAMESPACE, "thief", "x"])},
    optional={"labels": st.none() | LABELS, "annotations": st.none() | LABELS},
)
SLICES = st.fixed_dictionaries(
    {"metadata": METADATA, "addressType": st.sampled_from(["IPv4", "IPv6", "FQDN"])},
    optional={
        "endpoints": st.none() | st.lists(ENDPOINTS, max_size=3),
        "ports": st.none() | st.lists(SLICE_PORTS, max_size=2),
    },
)
EVENTS = st.lists(st.tuples(SLICES, st.booleans()), max_size=6)


@settings(max_examples=EXAMPLES)
@given(EVENTS)
def test_any_slices(events: list[tuple[Any, bool]]) -> None:
    endpoints = Endpoints()
    endpoints.set_ports(PORTS)
    written: dict[Key, set[str]] = {}
    for body, deleted in events:
        metadata = {**body["metadata"], "resourceVersion": next_version(), "uid": "uid"}
        endpoints.on_event(kinds.ENDPOINT_SLICE, {**body, "metadata": metadata}, deleted=deleted)
        addresses = [one.get("addresses") or () for one in body.get("endpoints") or ()]
        key = Key(metadata["namespace"], NAME)
        written.setdefault(key, set()).update(one for each in addresses for one in each)

    assert endpoints.ports() == {*PORTS}
    for port, entry in PORTS.items():
        endpoint = endpoints.by_port(port)
        assert endpoint is not None
        assert endpoint.key == Key(entry.namespace, entry.name)
        for target in endpoint.targets:
            address, _, target_port = target.rpartition(":")
            assert target_port == str(names.HTTP_PORT)
            assert address.strip("[]") in written[endpoint.key]
            assert may_be_replica(address.strip("[]"), names.HTTP_PORT)


@settings(max_examples=EXAMPLES)
@given(ADDRESSES)
def test_any_address(address: str) -> None:
    check_address(address.encode(errors="replace"))
    if may_be_replica(address, names.HTTP_PORT):
        parsed = ip_address(address)
        assert not parsed.is_loopback
        assert not parsed.is_multicast
        assert not is_metadata_service(str(parsed))
