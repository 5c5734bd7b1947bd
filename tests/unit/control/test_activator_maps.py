"""The maps of the activators in the API server: a start without them, and edits of others."""

from typing import Any

import pytest

from builders import NAME, NAMESPACE, ready_pod, resource, resource_body, signal
from endpoint_slices import mapped, our_slice, slice_body
from fake_api_server import FakeApiServer, Write
from fake_objects import ApiError
from in_process_client import connected
from mistral_operator.api import parse_resource
from mistral_operator.control.activator_keys import KeyMapWriter
from mistral_operator.control.activator_port_map import PortMapWriter
from mistral_operator.control.activator_ports import ActivatorPorts
from mistral_operator.kube import kinds, names
from mistral_operator.kube.errors import Unavailable
from mistral_operator.kube.objects import Key, key_of
from mistral_operator.scale_to_zero import FIRST_PORT, PORTS, encode_port_map
from mistral_operator.signals.pods import SignalBoard
from mistral_operator.watch.facts import pod_facts
from mistral_operator.watch.store import Store
from mistral_server.contract import KEY_DIGEST_METHOD, KeyDigests

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


# --- Entries of others ----------------------------------------------------------------------------


class Maps:
    """An operator that writes one of the maps, and the API server."""

    def __init__(self, name: str, api: FakeApiServer | None = None) -> None:
        self.name, self.api = name, api or FakeApiServer()
        self.now = 0.0
        self.endpoints = Endpoints()
        self.board = SignalBoard()
        self.ports = self.endpoints.writer(self.api)
        self.keys = KeyMapWriter(
            *(connected(self.api), OURS, self.endpoints.store, self.board, self.endpoints.ports),
            clock=lambda: self.now,
        )

    def serve(self, key: Key) -> None:
        """Let an endpoint have an entry: it can scale to zero and has a replica with API keys."""
        spec = {**SPEC, "gate": {"apiKeys": {"secret": "keys"}}}
        owner = resource_body(spec, name=key.name, namespace=key.namespace)
        self.endpoints.store.resources.put(owner)
        self.endpoints.ports.port(key, parse_resource(owner))
        pod = ready_pod(f"{key.name}-1")
        pod["metadata"]["labels"] = pod["metadata"]["labels"] | names.labels(key.name)
        pod |= {
            "spec": {"volumes": [{"name": names.VOLUME_API_KEYS, "secret": {"secretName": "keys"}}]}
        }
        self.endpoints.store.pods.put(pod)
        reported = KeyDigests(method=KEY_DIGEST_METHOD, salt="A" * 16, digests=("digestof",))
        self.board.record(pod_facts(pod)).document = signal(key_digests=reported)

    def delete(self, key: Key) -> None:
        """Let the resource of an endpoint be gone."""
        gone = resource_body(SPEC, name=key.name, namespace=key.namespace)
        self.endpoints.store.resources.remove(gone)
        self.endpoints.ports.forget(key)

    async def look(self) -> None:
        """Let the time pass until the map is read, and written if that is necessary."""
        self.now += 60
        if self.name == names.KEY_MAP:
            await self.keys.once()
        else:
            await self.ports.verify()
            await self.ports.publish()

    @property
    def data(self) -> dict[str, str]:
        """The data in the API server."""
        body = self.api.objects.get(kinds.CONFIG_MAP, Key(OURS, self.name))
        return dict(body.get("data") or {})

    def edit(self, **added: str) -> None:
        """Let someone add entries, and take over those that are there."""

        def change(live: Any) -> Any:
            return {**live, "data": {**live.get("data", {}), **added}}

        self.api.objects.update(kinds.CONFIG_MAP, Key(OURS, self.name), change, manager="edit")

    async def writes(self, looks: int = 5) -> list[str]:
        """Return the writes of some looks at the map."""
        before = len(self.api.writes)
        for _ in range(looks):
            await self.look()
        return [write.verb for write in self.api.writes[before:]]


BOTH = pytest.mark.parametrize("name", [names.PORT_MAP, names.KEY_MAP], ids=["ports", "keys"])
ADDED = {
    "20007": mapped(Key("someone", "else")).model_dump_json(),
    "someone.else": f"1 AAAAAAAA {'A' * 16} digestof",
    "note": "do not edit",
}


@BOTH
async def test_an_entry_that_someone_added_is_removed_and_that_is_that(name: str) -> None:
    maps = Maps(name)
    maps.serve(KEY)
    await maps.look()
    written = maps.data
    assert len(written) == 1

    maps.edit(**ADDED)

    assert await maps.writes() == ["apply", "patch"]
    assert maps.data == written


@BOTH
async def test_an_entry_that_someone_added_to_an_empty_map_is_removed(name: str) -> None:
    maps = Maps(name, api_server({}, name))
    await maps.look()

    maps.edit(**ADDED)

    assert await maps.writes() == ["apply", "patch"]
    assert maps.data == {}


@BOTH
async def test_the_entries_of_a_restored_map_go_with_their_endpoints(name: str) -> None:
    """Who restores a backup owns every entry, and server-side apply leaves them."""
    before = Maps(name)
    for key in (KEY, OTHER):
        before.serve(key)
    await before.look()
    maps = Maps(name, api_server(before.data, name))
    for key in (KEY, OTHER):
        maps.serve(key)
    await maps.look()
    assert len(maps.data) == 2

    maps.delete(OTHER)

    assert await maps.writes() == ["apply", "patch"]
    assert len(maps.data) == 1


@BOTH
async def test_an_edit_between_the_two_writes_is_not_overwritten_unread(name: str) -> None:
    maps = Maps(name)
    maps.serve(KEY)
    await maps.look()
    written = maps.data

    async def edit_again(_: Write) -> None:
        maps.api.after_write = None
        maps.edit(another="entry")

    maps.edit(**ADDED)
    maps.api.after_write = edit_again

    assert await maps.writes() == ["apply", "patch", "apply", "patch"]
    assert maps.data == written


@BOTH
async def test_a_patch_that_is_rejected_is_logged_and_not_repeated_forever(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    maps = Maps(name)
    maps.serve(KEY)
    await maps.look()

    async def reject_patches(write: Write) -> None:
        if write.verb == "patch":
            raise ApiError(403, "Forbidden", "a policy denied the request")

    maps.edit(**ADDED)
    maps.api.before_write = reject_patches

    assert await maps.writes() == ["apply", "patch"]
    (warning,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert warning.startswith(f"ConfigMap {name}: cannot remove entries of others: ")


class AddsAnEntry(FakeApiServer):
    """An API server with a webhook that adds an entry to every ConfigMap."""

    def _carry_out(self, *arguments: Any) -> Any:
        live = super()._carry_out(*arguments)
        return self.objects.update(
            *(kinds.CONFIG_MAP, key_of(live)),
            lambda live: {**live, "data": {**live.get("data", {}), "injected": "x"}},
            manager="webhook",
        )


@BOTH
async def test_an_entry_that_a_webhook_adds_to_each_write_is_not_fought(name: str) -> None:
    maps = Maps(name, AddsAnEntry())
    maps.serve(KEY)

    assert await maps.writes() == ["apply", "patch"]
    assert "injected" in maps.data


@BOTH
async def test_a_patch_while_the_api_server_is_away_is_tried_again(name: str) -> None:
    maps = Maps(name)
    maps.serve(KEY)
    await maps.look()
    written = maps.data

    async def fail_once(write: Write) -> None:
        if write.verb == "patch":
            maps.api.before_write = None
            raise ApiError(503, "ServiceUnavailable", "later")

    maps.edit(**ADDED)
    maps.api.before_write = fail_once
    with pytest.raises(Unavailable):
        await maps.look()

    assert await maps.writes() == ["apply", "patch"]
    assert maps.data == written
