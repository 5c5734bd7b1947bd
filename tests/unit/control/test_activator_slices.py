"""When the activators serve in place of an endpoint, and what it needs before it scales to zero."""

from typing import Any

import pytest

from builders import (
    CONTEXT,
    NAME,
    NAMESPACE,
    NOW,
    live,
    merged,
    resource,
)
from mistral_operator.api import Resource, Status
from mistral_operator.control.activator_slices import ActivatorSlices
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
)
from mistral_operator.watch.store import Store

KEY, OTHER = Key(NAMESPACE, NAME), Key(NAMESPACE, "other")
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

    def __init__(self, activators: Activators = READY) -> None:
        self.store = Store(kinds.CHILD_KINDS)
        self.activators = activators
        self.slices = ActivatorSlices(self.store)

    def desired(self, owner: Resource, key: Key = KEY) -> Desired:
        """Return what an endpoint is to become."""
        inputs = DecisionInputs(
            NOW,
            CONTEXT,
            deployment=self.store.deployment_of(key),
            activators=self.activators,
            activator_port=self.slices.port(key, owner),
            activators_serve=self.slices.serve(key),
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


def test_a_new_operator_gives_the_ports_that_the_cluster_holds() -> None:
    slices = Slices()
    slices.hold(sleeper(), ActivatorRoute(FIRST_PORT))

    assert port(slices, OTHER) == FIRST_PORT + 1, "the first is taken, though not assigned yet"
    assert port(slices, KEY) == FIRST_PORT


def test_a_port_is_free_again_when_its_endpoint_no_longer_scales_to_zero() -> None:
    slices = Slices()
    port(slices, KEY)

    slices.desired(resource())

    assert port(slices, OTHER) == FIRST_PORT


@pytest.mark.parametrize("odd", [80, FIRST_PORT + PORTS, 0])
def test_a_foreign_port_in_a_slice_is_not_followed(odd: int) -> None:
    slices = Slices()
    slices.hold(sleeper(), ActivatorRoute(odd))

    assert port(slices, KEY) == FIRST_PORT


def test_without_a_free_port_it_stays_awake() -> None:
    slices = Slices()
    for number in range(PORTS):
        assert port(slices, Key(NAMESPACE, f"endpoint-{number}")) == FIRST_PORT + number

    assert port(slices, KEY) is None
    slices.run(1)
    assert slices.desired(sleeper(0)).running.spec.replicas == 1
