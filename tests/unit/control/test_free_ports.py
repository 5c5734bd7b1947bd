"""Ports of the activators that are given again: to whom, and not before old clients have left."""

from dataclasses import dataclass, field
from typing import Any

from builders import NAME, NAMESPACE, resource, resource_body
from endpoint_slices import mapped
from mistral_operator.control.activator_port_map import PortMapWriter
from mistral_operator.control.activator_ports import ActivatorPorts
from mistral_operator.control.free_ports import REST_SECONDS
from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Key
from mistral_operator.scale_to_zero import FIRST_PORT, PORTS, encode_port_map
from mistral_operator.watch.store import Store

KEY = Key(NAMESPACE, NAME)


@dataclass
class Crowd:
    """Ports, and endpoints that need one."""

    per_namespace: int = PORTS
    now: float = 1000.0
    needs_none: set[Key] = field(default_factory=set)
    """Endpoints that need no port any more."""
    requeued: dict[Key, float] = field(default_factory=dict)
    """When each endpoint that was requeued is looked at again."""
    store: Store = field(default_factory=lambda: Store(kinds.CHILD_KINDS))

    def __post_init__(self) -> None:
        self.ports = ActivatorPorts(
            self.store,
            self.per_namespace,
            lambda key: self._later(key, 0.0),
            requeue_after=self._later,
            clock=lambda: self.now,
        )

    def _later(self, key: Key, seconds: float) -> None:
        due = self.now + seconds
        self.requeued[key] = min(due, self.requeued.get(key, due))

    def ask(self, key: Key) -> int | None:
        """Return the port that an endpoint gets now."""
        return self.ports.port(key, resource(), held=key not in self.needs_none)

    def work(self, seconds: float = 0.0) -> None:
        """Look at those that were requeued, as the queue does, for so long."""
        until = self.now + seconds
        while self.requeued and min(self.requeued.values()) <= until:
            key, due = min(self.requeued.items(), key=lambda one: one[1])
            self.now = max(self.now, due)
            del self.requeued[key]
            self.ask(key)
        self.now = until


def crowd(count: int, namespace: str = "crowd") -> list[Key]:
    """Return the keys of so many endpoints."""
    return [Key(namespace, f"endpoint-{number}") for number in range(count)]


def fill(ports: Crowd) -> list[Key]:
    """Give every port to an endpoint."""
    keys = crowd(PORTS)
    assert None not in {*map(ports.ask, keys)}
    return keys


def test_a_port_rests_until_no_client_of_the_last_endpoint_connects_there() -> None:
    """Its clients would send their requests and API keys to another endpoint."""
    ports = Crowd()
    first, *_ = fill(ports)

    ports.ports.forget(first)

    assert ports.ask(KEY) is None
    assert ports.ports.refusal(KEY) == "all 2000 ports of the activators are in use"
    ports.now += REST_SECONDS - 0.1
    assert ports.ask(KEY) is None
    ports.now += 0.2
    assert ports.ask(KEY) == FIRST_PORT


def test_who_waits_for_a_port_that_rests_is_looked_at_when_it_has() -> None:
    ports = Crowd()
    first, *_ = fill(ports)
    ports.ask(KEY)

    ports.ports.forget(first)
    ports.work(REST_SECONDS + 1.0)

    assert ports.ports.has(KEY)


def test_of_two_that_wait_for_one_port_the_first_gets_it_and_the_other_the_next() -> None:
    ports, other = Crowd(), Key("other", NAME)
    first, second, *_ = fill(ports)
    ports.ask(KEY)
    ports.ask(other)

    ports.ports.forget(first)
    ports.work(REST_SECONDS + 1.0)
    assert (ports.ports.has(KEY), ports.ports.has(other)) == (True, False)

    ports.ports.forget(second)
    ports.work(REST_SECONDS + 1.0)
    assert ports.ports.has(other)
    assert not ports.requeued, "no endpoint waits any more"


def test_many_ports_that_become_free_at_once_reach_all_that_wait() -> None:
    """As when a namespace is deleted."""
    ports = Crowd(per_namespace=50)
    served, waiting = crowd(100)[:50], crowd(100)[50:]
    for key in (*served, *waiting):
        ports.ask(key)

    for key in served:
        ports.ports.forget(key)
    ports.work()

    assert [key for key in waiting if not ports.ports.has(key)] == []


def test_those_that_need_no_port_any_more_keep_none_from_the_others() -> None:
    ports = Crowd(per_namespace=1)
    served, *waiting = crowd(20)
    for key in (served, *waiting):
        ports.ask(key)

    ports.needs_none.update(waiting[:-1])
    ports.ports.forget(served)
    ports.work()

    assert ports.ports.has(waiting[-1])


# --- A new operator -------------------------------------------------------------------------------


@dataclass
class MapStore:
    """An API server that keeps one ConfigMap."""

    body: dict[str, Any] | None = None

    async def get(self, *_: object) -> dict[str, Any] | None:
        return self.body

    async def apply(self, body: dict[str, Any], *, force: bool) -> dict[str, Any]:
        assert force
        metadata = {**body["metadata"], "resourceVersion": "7"}
        self.body = {**body, "metadata": metadata}
        return self.body


def writer(cluster: MapStore, ports: Crowd) -> PortMapWriter:
    """Return what writes the map."""
    return PortMapWriter(cluster, "mistral-system", ports.ports)  # type: ignore[arg-type]


async def test_a_new_operator_knows_which_ports_rest() -> None:
    cluster, before = MapStore(), Crowd()
    ports = writer(cluster, before)
    before.ask(KEY)
    await ports.publish()
    before.ports.forget(KEY)
    await ports.publish()

    after = Crowd()
    await writer(cluster, after).restore()

    assert after.ask(KEY) == FIRST_PORT + 1
    keys = crowd(PORTS)
    assert {*map(after.ask, keys)} >= {None}
    assert FIRST_PORT not in after.ports.entries
    after.now += REST_SECONDS
    assert after.ask(keys[-1]) == FIRST_PORT


async def test_the_port_of_an_endpoint_that_was_deleted_meanwhile_rests() -> None:
    cluster, ports = MapStore(), Crowd()
    data = encode_port_map({FIRST_PORT: mapped(Key(NAMESPACE, "gone"))})
    cluster.body = {"metadata": {"resourceVersion": "5"}, "data": data}
    ports.store.resources.put(resource_body())

    await writer(cluster, ports).restore()

    assert ports.ask(KEY) == FIRST_PORT + 1


async def test_odd_ports_in_the_annotation_are_ignored() -> None:
    cluster, ports = MapStore(), Crowd()
    annotations = {names.ANNOTATION_RESTING: f"x,80,,99999,{FIRST_PORT}"}
    metadata = {"resourceVersion": "5", "annotations": annotations}
    cluster.body = {"metadata": metadata, "data": {}}

    await writer(cluster, ports).restore()

    assert ports.ask(KEY) == FIRST_PORT + 1
