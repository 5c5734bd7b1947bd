"""The maps of the activators in the API server: a start without them, and edits of others."""

from typing import Any

import pytest

from builders import NAME, NAMESPACE, resource, resource_body
from endpoint_slices import mapped, our_slice, slice_body
from fake_api_server import FakeApiServer
from in_process_client import connected
from mistral_operator.control.activator_ports import ActivatorPorts, PortMapWriter
from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Key
from mistral_operator.scale_to_zero import FIRST_PORT, PORTS, encode_port_map
from mistral_operator.watch.store import Store

OURS = "mistral-system"
KEY, OTHER = Key(NAMESPACE, NAME), Key(NAMESPACE, "other")
SPEC = {"autoscaling": {"minReplicas": 0, "maxReplicas": 4}}
LAST_PORT = FIRST_PORT + PORTS - 1


class Endpoints:
    """A store with endpoints that can scale to zero, and their ports."""

    def __init__(self, *slices: Any) -> None:
        self.store = Store(kinds.CHILD_KINDS)
        self.ports = ActivatorPorts(self.store)
        for one in slices:
            self.store.children[kinds.ENDPOINT_SLICE].put(one)

    def hold(self, *keys: Key) -> None:
        """Let the cluster have resources that are not reconciled yet."""
        for key in keys:
            self.store.resources.put(resource_body(SPEC, name=key.name, namespace=key.namespace))

    def reconcile(self, key: Key) -> int | None:
        """Return the port that an endpoint gets."""
        self.hold(key)
        return self.ports.port(key, resource(SPEC, name=key.name, namespace=key.namespace))

    def writer(self, api: FakeApiServer) -> PortMapWriter:
        """Return what writes the port map."""
        return PortMapWriter(connected(api), OURS, self.ports)


def api_server(data: dict[str, str] | None, name: str = names.PORT_MAP) -> FakeApiServer:
    """Return an API server with one of the maps, which someone else wrote; without it if None."""
    api = FakeApiServer()
    if data is not None:
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": OURS},
            "data": data,
        }
        api.objects.create(kinds.CONFIG_MAP, body, manager="restore")
    return api


# --- A start without the port map -----------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(None, id="no map"),
        pytest.param({}, id="an empty map"),
        pytest.param({"20000": "{}"}, id="its entry is invalid"),
    ],
)
async def test_a_port_that_a_slice_leads_to_is_assigned_last(data: dict[str, str] | None) -> None:
    """Requests to that endpoint, with its API keys, must not reach another one."""
    endpoints, api = Endpoints(our_slice("10.0.0.9", port=FIRST_PORT)), api_server(data)
    endpoints.hold(KEY)

    await endpoints.writer(api).restore()

    others = [Key(NAMESPACE, f"endpoint-{number}") for number in range(PORTS)]
    assert [*map(endpoints.reconcile, others)] == [
        *range(FIRST_PORT + 1, LAST_PORT + 1),
        FIRST_PORT,
    ]


def test_an_endpoint_without_an_entry_does_not_get_its_port_back() -> None:
    """Its slice is in a namespace of a tenant, who may have edited it."""
    endpoints = Endpoints(our_slice(port=FIRST_PORT))
    endpoints.hold(KEY)

    endpoints.ports.restore({})

    assert endpoints.reconcile(KEY) == FIRST_PORT + 1


def test_a_port_in_the_map_stays_with_its_endpoint_whatever_slices_say() -> None:
    endpoints = Endpoints(our_slice(port=FIRST_PORT))
    endpoints.hold(KEY, OTHER)

    endpoints.ports.restore(encode_port_map({FIRST_PORT: mapped(OTHER)}))

    assert endpoints.reconcile(OTHER) == FIRST_PORT
    others = {endpoints.reconcile(Key("a", f"{number}")) for number in range(PORTS)}
    assert others == {*range(FIRST_PORT + 1, LAST_PORT + 1), None}


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(slice_body(port=FIRST_PORT), id="a slice of Kubernetes"),
        pytest.param(our_slice(port=FIRST_PORT) | {"ports": None}, id="without ports"),
        pytest.param(our_slice(port=FIRST_PORT) | {"ports": [{}]}, id="every port"),
        pytest.param(our_slice(port=443), id="not a port of the activators"),
        pytest.param(
            our_slice(port=FIRST_PORT, labels=names.labels("gone")), id="of no resource that exists"
        ),
    ],
)
def test_other_slices_hold_back_no_port(made: Any) -> None:
    endpoints = Endpoints(made)
    endpoints.hold(KEY)

    endpoints.ports.restore({})

    assert endpoints.reconcile(OTHER) == FIRST_PORT


def test_one_resource_holds_back_one_port() -> None:
    """A tenant can add ports to a slice, and slices."""
    several = [{"name": f"http-{number}", "port": FIRST_PORT + number} for number in range(9)]
    more = [our_slice(port=FIRST_PORT + 5 + number, name=f"more-{number}") for number in range(9)]
    six = our_slice("fd00::9", port=FIRST_PORT + 3, name=names.activator_slice(NAME, ipv6=True))
    endpoints = Endpoints(our_slice() | {"ports": several}, six, *more)
    endpoints.hold(KEY)

    endpoints.ports.restore({})

    ports = [endpoints.reconcile(Key(NAMESPACE, f"endpoint-{number}")) for number in range(9)]
    assert ports == [*range(FIRST_PORT + 1, FIRST_PORT + 10)]
