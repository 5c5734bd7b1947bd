"""The maps of the activators: endpoints with their ports, and operators that write the maps."""

from typing import Any

from builders import NAME, NAMESPACE, ready_pod, resource, resource_body, signal
from fake_api_server import FakeApiServer
from in_process_client import connected
from mistral_operator.api import parse_resource
from mistral_operator.control.activator_keys import KeyMapWriter
from mistral_operator.control.activator_port_map import PortMapWriter
from mistral_operator.control.activator_ports import ActivatorPorts
from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Key, key_of
from mistral_operator.signals.pods import SignalBoard
from mistral_operator.watch.facts import pod_facts
from mistral_operator.watch.store import Store
from mistral_server.contract import KEY_DIGEST_METHOD, KeyDigests

OURS = "mistral-system"
KEY = Key(NAMESPACE, NAME)
SPEC = {"autoscaling": {"minReplicas": 0, "maxReplicas": 4}}


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

    @classmethod
    async def of(cls, name: str, *keys: Key, api: FakeApiServer | None = None) -> "Maps":
        """Return an operator that has written the map with the entries of endpoints."""
        maps = cls(name, api)
        for key in keys:
            maps.serve(key)
        await maps.look()
        return maps

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


class AddsAnEntry(FakeApiServer):
    """An API server with a webhook that adds an entry to every ConfigMap."""

    def _carry_out(self, *arguments: Any) -> Any:
        live = super()._carry_out(*arguments)
        return self.objects.update(
            *(kinds.CONFIG_MAP, key_of(live)),
            lambda live: {**live, "data": {**live.get("data", {}), "injected": "x"}},
            manager="webhook",
        )
