"""When the activators serve in place of an endpoint, and what it needs before it scales to zero."""

import asyncio
from typing import Any

import pytest

from builders import (
    CONTEXT,
    NAME,
    NAMESPACE,
    NOW,
    live,
    merged,
    next_version,
    resource,
    resource_body,
)
from endpoint_slices import mapped
from mistral_operator.api import Resource, Status
from mistral_operator.control.activator_port_map import PortMapWriter
from mistral_operator.control.activator_ports import ActivatorPorts
from mistral_operator.control.desired import DecisionInputs, Desired, decide_desired
from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Key
from mistral_operator.render import children
from mistral_operator.scale_to_zero import (
    FIRST_PORT,
    PORTS,
    ActivatorRoute,
    Activators,
    Terms,
    decode_port_map,
    encode_port_map,
)
from mistral_operator.watch.store import Store

KEY, OTHER, GONE = (Key(NAMESPACE, name) for name in (NAME, "other", "gone"))
READY = Activators(("10.0.0.8", "10.0.0.9"))


def sleeper(replicas: int = 0, **changes: Any) -> Resource:
    """Return an endpoint that may scale to zero."""
    spec = {"replicas": replicas, "autoscaling": {"minReplicas": 0, "maxReplicas": 4}}
    return resource(merged(spec, changes))


def slice_of(owner: Resource, activation: ActivatorRoute) -> Any:
    """Return the rendered slice of an endpoint."""
    rendered = children(owner, CONTEXT, activation)
    return next(one for one in rendered if one["kind"] == "EndpointSlice")


class Slices:
    """A store, the slices in it, and the activators."""

    def __init__(self, activators: Activators = READY, per_namespace: int = PORTS) -> None:
        self.store = Store(kinds.CHILD_KINDS)
        self.activators = activators
        self.requeued: list[Key] = []
        self.ports = ActivatorPorts(self.store, per_namespace, self.requeued.append)

    def desired(self, owner: Resource, key: Key = KEY) -> Desired:
        """Return what an endpoint is to become."""
        inputs = DecisionInputs(
            NOW,
            CONTEXT,
            deployment=self.store.deployment_of(key),
            activators=self.activators,
            activator_port=self.ports.port(key, owner),
            activators_serve=self.ports.serve(key),
        )
        return decide_desired(owner, Status(), inputs)

    def hold(self, owner: Resource, activation: ActivatorRoute) -> None:
        """Let the cluster hold the slice of an endpoint."""
        body = live(slice_of(owner, activation))
        self.store.children[kinds.ENDPOINT_SLICE].put(body)

    def run(self, replicas: int) -> None:
        """Let the cluster hold a Deployment of so many replicas."""
        rendered = children(sleeper(replicas), CONTEXT)
        self.store.children[kinds.DEPLOYMENT].put(
            live(next(one for one in rendered if one["kind"] == "Deployment"))
        )


# --- In the path, or not --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replicas", "activators", "addresses"),
    [
        pytest.param(0, READY, READY.addresses, id="it is scaled to zero"),
        pytest.param(1, READY, READY.addresses, id="it starts"),
        pytest.param(
            0,
            Activators(READY.addresses, targets={KEY: 1}),
            READY.addresses,
            id="it is about to scale to zero",
        ),
        pytest.param(1, Activators(READY.addresses, targets={KEY: 1}), (), id="it runs"),
        pytest.param(
            1, Activators(READY.addresses, targets={OTHER: 1}), READY.addresses, id="another is"
        ),
        pytest.param(0, Activators(), (), id="no activator is ready"),
    ],
)
def test_the_activators_are_in_the_way_as_long_as_no_replica_is_seen(
    replicas: int, activators: Activators, addresses: tuple[str, ...]
) -> None:
    assert Slices(activators).desired(sleeper(replicas)).activation == ActivatorRoute(
        FIRST_PORT, addresses
    )


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"autoscaling": {"maxReplicas": 4}},
        {"suspend": True, "autoscaling": {"minReplicas": 0, "maxReplicas": 4}},
    ],
    ids=["no autoscaling", "one stays", "suspended"],
)
def test_an_endpoint_that_never_scales_to_zero_has_no_activator(spec: Any) -> None:
    assert Slices().desired(resource(spec)).activation is None


def test_the_slice_says_all_that_the_activator_has_to_know() -> None:
    owner = sleeper(gate={"apiKeys": {"secret": "keys"}})

    rendered = slice_of(owner, ActivatorRoute(20_007, ("10.0.0.9",)))

    metadata = rendered["metadata"]
    assert metadata["labels"][names.LABEL_SERVICE] == NAME
    assert metadata["ownerReferences"][0]["controller"]
    assert set(metadata["annotations"]) == {names.ANNOTATION_ACTIVATION, names.ANNOTATION_APPLIED}
    terms = Terms.model_validate_json(metadata["annotations"][names.ANNOTATION_ACTIVATION])
    assert terms == Terms(
        model=owner.spec.model.name, keys=True, max_wait_seconds=300, max_requests=100
    )
    assert rendered["addressType"] == "IPv4"
    assert rendered["endpoints"] == [{"addresses": ["10.0.0.9"], "conditions": {"ready": True}}]
    (port,) = rendered["ports"]
    assert (port["name"], port["port"]) == (names.PORT_HTTP, 20_007)


def test_a_slice_of_the_other_family_is_another_slice() -> None:
    four = slice_of(sleeper(), ActivatorRoute(20_000))
    six = slice_of(sleeper(), ActivatorRoute(20_000, ("fd00::9",), ipv6=True))

    assert (four["addressType"], six["addressType"]) == ("IPv4", "IPv6")
    assert four["metadata"]["name"] != six["metadata"]["name"]


# --- Before it scales to zero ---------------------------------------------------------------------


def test_the_last_replica_stays_until_an_activator_is_behind_the_service() -> None:
    slices, owner = Slices(), sleeper(0)
    slices.run(2)
    assert slices.desired(owner).running.spec.replicas == 2

    slices.hold(owner, ActivatorRoute(FIRST_PORT))
    assert slices.desired(owner).running.spec.replicas == 2, "its slice is empty"

    slices.hold(owner, ActivatorRoute(FIRST_PORT, READY.addresses))
    assert slices.desired(owner).running == owner


def test_an_endpoint_at_zero_without_an_activator_stays_there() -> None:
    slices = Slices(Activators())
    slices.run(0)

    assert slices.desired(sleeper(0)).running.spec.replicas == 0


@pytest.mark.parametrize(
    "owner",
    [sleeper(3), resource({"replicas": 0}), sleeper(0, suspend=True)],
    ids=["some", "stopped", "suspended"],
)
def test_other_endpoints_have_their_own_replicas(owner: Resource) -> None:
    slices = Slices()
    slices.run(2)

    assert slices.desired(owner).running == owner


# --- Ports ----------------------------------------------------------------------------------------


def port(slices: Slices, key: Key) -> int | None:
    """Return the port that is assigned to an endpoint."""
    route = slices.desired(sleeper(), key).activation
    return None if route is None else route.port


def test_every_endpoint_has_a_port_of_its_own_and_keeps_it() -> None:
    slices = Slices()

    assert [port(slices, key) for key in (KEY, OTHER, KEY)] == [
        FIRST_PORT,
        FIRST_PORT + 1,
        FIRST_PORT,
    ]


def test_a_new_operator_gives_the_ports_that_the_map_holds() -> None:
    slices, entries = Slices(), {FIRST_PORT: mapped(KEY), FIRST_PORT + 3: mapped(GONE)}
    slices.store.resources.put(resource_body())

    slices.ports.restore(encode_port_map(entries))

    assert port(slices, OTHER) == FIRST_PORT + 1, (
        "the first is taken, also before its endpoint is reconciled"
    )
    assert port(slices, KEY) == FIRST_PORT
    assert set(slices.ports.entries) == {FIRST_PORT, FIRST_PORT + 1}, "one of them is gone"


def test_a_slice_of_another_author_takes_no_port() -> None:
    slices = Slices()
    slices.hold(sleeper(), ActivatorRoute(FIRST_PORT + 7))

    assert port(slices, OTHER) == FIRST_PORT
    assert port(slices, KEY) == FIRST_PORT + 1


def test_without_a_free_port_it_stays_awake_and_says_why() -> None:
    slices = Slices()
    for number in range(PORTS):
        assert port(slices, Key(f"team-{number}", NAME)) == FIRST_PORT + number

    assert port(slices, KEY) is None
    assert slices.ports.refusal(KEY) == "all 2000 ports of the activators are in use"
    slices.run(1)
    assert slices.desired(sleeper(0)).running.spec.replicas == 1


def test_a_namespace_cannot_take_the_ports_of_others() -> None:
    slices = Slices(per_namespace=100)
    ports = [port(slices, Key("greedy", f"endpoint-{number}")) for number in range(2000)]

    assert ports[:100] == [*range(FIRST_PORT, FIRST_PORT + 100)]
    assert set(ports[100:]) == {None}
    assert slices.ports.refusal(Key("greedy", "endpoint-1999")) == (
        "namespace greedy already uses 100 ports of the activators, its maximum"
    )
    assert port(slices, KEY) == FIRST_PORT + 100
    assert slices.ports.refusal(KEY) is None


def test_only_an_endpoint_that_would_fit_waits_for_a_port() -> None:
    slices = Slices(per_namespace=1)
    long = ["/v1/" + "a" * 200, "/v1/" + "b" * 200]
    slices.ports.port(OTHER, resource(), held=True)

    slices.ports.port(KEY, resource(), held=True)
    assert slices.ports.waits(KEY)

    slices.ports.port(KEY, resource({"gate": {"paths": long}}), held=True)
    assert slices.ports.refusal(KEY) is not None
    assert not slices.ports.waits(KEY)

    slices.ports.port(KEY, resource(), held=True)
    assert slices.ports.waits(KEY)

    slices.ports.port(KEY, resource())
    assert slices.ports.refusal(KEY) is None


def test_a_held_endpoint_has_a_port_as_long_as_it_is_held() -> None:
    slices = Slices()

    assert slices.ports.port(KEY, resource(), held=True) == FIRST_PORT
    assert slices.ports.has(KEY)
    assert slices.ports.entries[FIRST_PORT].terms.max_wait_seconds == 600

    assert slices.ports.port(KEY, resource()) is None
    assert not slices.ports.has(KEY)


def test_an_endpoint_without_a_port_gets_one_that_becomes_free() -> None:
    slices = Slices(per_namespace=1)
    port(slices, OTHER)
    assert port(slices, KEY) is None

    slices.ports.forget(OTHER)

    assert slices.requeued == [KEY]
    assert port(slices, KEY) is not None
    assert slices.ports.refusal(KEY) is None


@pytest.mark.parametrize("owner", [resource(), sleeper(suspend=True)], ids=["awake", "suspended"])
def test_an_endpoint_that_needs_no_port_any_more_is_refused_none(owner: Resource) -> None:
    slices = Slices(per_namespace=1)
    port(slices, OTHER)
    port(slices, KEY)

    slices.desired(owner)

    assert slices.ports.refusal(KEY) is None


# --- The map --------------------------------------------------------------------------------------


class Cluster:
    """An API server that keeps one ConfigMap."""

    def __init__(self, data: dict[str, str] | None = None) -> None:
        self.data = data
        self.writes = 0

    async def get(self, *_: object) -> dict[str, Any] | None:
        return (
            None
            if self.data is None
            else {"metadata": {"resourceVersion": next_version()}, "data": self.data}
        )

    async def apply(self, body: dict[str, Any], *, force: bool) -> dict[str, Any]:
        assert force
        await asyncio.sleep(0)
        self.writes += 1
        self.data = body["data"]
        return merged(body, {"metadata": {"resourceVersion": next_version()}})


def writer(slices: Slices, cluster: Cluster) -> PortMapWriter:
    """Return what writes the map."""
    return PortMapWriter(cluster, "mistral-system", slices.ports)  # type: ignore[arg-type]


async def test_the_map_is_written_once_for_each_change_and_also_when_it_is_empty() -> None:
    slices, cluster = Slices(), Cluster()
    written = writer(slices, cluster)
    await written.restore()

    await written.publish()
    await written.publish()
    assert (cluster.data, cluster.writes) == ({}, 1)

    port(slices, KEY)
    await asyncio.gather(*(written.publish() for _ in range(20)))
    port(slices, KEY)
    await written.publish()

    assert cluster.writes == 2
    assert cluster.data is not None
    assert decode_port_map(cluster.data).entries == slices.ports.entries


async def test_a_restart_writes_nothing() -> None:
    slices, cluster = Slices(), Cluster(encode_port_map({FIRST_PORT: mapped(KEY)}))
    slices.store.resources.put(resource_body())
    written = writer(slices, cluster)

    await written.restore()
    await written.publish()

    assert cluster.writes == 0


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"80": "{}"}, "'80' is not a port"),
        ({"0x4e20": "{}"}, "'0x4e20' is not a port"),
        ({"٢٠٠٠٠": "{}"}, "is not a port"),
        ({"19999": "{}"}, "port 19999 is outside of 20000 to 21999"),
        ({"22000": "{}"}, "port 22000 is outside of 20000 to 21999"),
        ({"20000": "{}"}, "the entry of port 20000 is invalid"),
        ({"20000": "null"}, "the entry of port 20000 is invalid"),
        ({"20000": "["}, "the entry of port 20000 is invalid"),
        (
            {"20000": mapped().model_dump_json(), "20001": mapped().model_dump_json()},
            f"{NAMESPACE}/{NAME} has the ports 20000, 20001",
        ),
    ],
)
def test_an_odd_entry_of_the_map_serves_no_endpoint(data: dict[str, str], problem: str) -> None:
    other = {"20007": mapped(OTHER).model_dump_json()}

    decoded = decode_port_map(data | other)

    assert set(decoded.entries) == {20_007}
    assert problem in decoded.problems[0]


@pytest.mark.parametrize("data", [None, {}, {"31000": "someone/else"}])
async def test_a_map_that_was_deleted_or_edited_is_written_again(
    data: dict[str, str] | None,
) -> None:
    slices, cluster = Slices(), Cluster()
    written = writer(slices, cluster)
    await written.restore()
    port(slices, KEY)
    await written.publish()
    before, cluster.data = cluster.data, data

    await written.verify()

    assert (cluster.data, cluster.writes) == (before, 2)
    await written.verify()
    assert cluster.writes == 2, "a map that is as it should be"


def test_a_free_port_requeues_some_of_those_that_may_get_it() -> None:
    requeued: list[Key] = []
    ports = ActivatorPorts(Store(kinds.CHILD_KINDS), 20, requeued.append)
    crowd = [Key("crowded", f"small-{number}") for number in range(60)]
    for key in (*crowd, Key("other", "small")):
        ports.port(key, resource(), held=True)

    ports.forget(Key("other", "small"))
    assert requeued == [], "their namespace has all that it may have"

    ports.forget(crowd[0])
    assert requeued == crowd[20:28]
