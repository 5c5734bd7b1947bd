"""Who may call which endpoint at the activators: the same callers as at its pods."""

import json
from itertools import count
from typing import Any

import pytest

from builders import NAMESPACE, resource
from mistral_operator.api import parse_spec
from mistral_operator.api.network import Peer
from mistral_operator.kube import names
from mistral_operator.render import NetworkDefaults, RenderContext, children
from mistral_operator.render.activator_network import (
    EVERYONE,
    NO_CALLERS,
    PORTS_PER_POLICY,
    activator_policy,
    by_policy,
    callers_of,
)
from mistral_operator.scale_to_zero import FIRST_PORT, PORTS

LARGEST_OBJECT = 2**20
"""Two thirds of what a request to etcd may have, in bytes."""
GATEWAY = {"namespaceSelector": {"matchLabels": {names.LABEL_NAMESPACE_NAME: "gateway"}}}
WEB = {"podSelector": {"matchLabels": {"app": "web"}}}
WEB_HERE = WEB | {"namespaceSelector": {"matchLabels": {names.LABEL_NAMESPACE_NAME: NAMESPACE}}}
BLOCK = {"ipBlock": {"cidr": "10.20.0.0/16"}}
OWN: dict[str, Any] = {"podSelector": {}}
SELECTOR = {"matchLabels": {"app": "activator"}}
OF_CHART = {
    "metadata": {"name": "chart-activator", "namespace": "mistral-system", "uid": "uid-of-chart"},
    "spec": {"podSelector": SELECTOR, "policyTypes": ["Ingress", "Egress"]},
}


def callers(
    of_resource: list[Any] | None, of_chart: list[Any] | None = None, namespace: str = NAMESPACE
) -> str:
    """Return who may call an endpoint."""
    network = parse_spec({"network": {"callers": of_resource}} if of_resource is not None else {})
    peers = None if of_chart is None else tuple(map(Peer.model_validate, of_chart))
    return callers_of(network.network, namespace, NetworkDefaults(callers=peers))


def test_the_router_of_an_endpoint_is_one_of_its_callers() -> None:
    router = names.router_selector("small")
    network = parse_spec({"network": {"callers": [BLOCK]}}).network

    peers = json.loads(callers_of(network, NAMESPACE, NetworkDefaults(), router))

    here = {"matchLabels": {names.LABEL_NAMESPACE_NAME: NAMESPACE}}
    expected = {"podSelector": {"matchLabels": router}, "namespaceSelector": here}
    assert [one for one in peers if one == expected] == [expected]
    assert callers_of(parse_spec({}).network, NAMESPACE, NetworkDefaults(), router) == EVERYONE


@pytest.mark.parametrize(
    ("of_resource", "of_chart", "peers"),
    [
        pytest.param(None, None, None, id="everyone"),
        pytest.param([], None, [OWN], id="none"),
        pytest.param(None, [], [OWN], id="isolated by the chart"),
        pytest.param(None, [GATEWAY], [OWN, GATEWAY], id="callers of the chart"),
        pytest.param([BLOCK], [GATEWAY], [OWN, BLOCK], id="its own replace them"),
        pytest.param([], [GATEWAY], [OWN], id="none replaces them, too"),
        pytest.param([WEB], None, [OWN, WEB_HERE], id="pods of its namespace"),
        pytest.param(None, [WEB], [OWN, WEB_HERE], id="pods of each endpoint's namespace"),
        pytest.param([WEB | GATEWAY], None, [OWN, WEB | GATEWAY], id="pods of another"),
        pytest.param(
            [{"namespaceSelector": {}}], None, [OWN, {"namespaceSelector": {}}], id="all pods"
        ),
    ],
)
def test_callers_are_those_of_the_endpoint(
    of_resource: list[Any] | None, of_chart: list[Any] | None, peers: list[Any] | None
) -> None:
    result = callers(of_resource, of_chart)

    assert (None if result == EVERYONE else json.loads(result)) == peers
    assert (result == NO_CALLERS) == (peers == [OWN])


@pytest.mark.parametrize("of_resource", [None, [], [WEB], [GATEWAY, BLOCK]])
@pytest.mark.parametrize("of_chart", [None, [], [GATEWAY], [WEB, BLOCK]])
def test_the_pods_of_an_endpoint_admit_all_that_the_activators_admit(
    of_resource: list[Any] | None, of_chart: list[Any] | None
) -> None:
    spec = {} if of_resource is None else {"network": {"callers": of_resource}}
    peers = None if of_chart is None else tuple(map(Peer.model_validate, of_chart))
    context = RenderContext("image", network=NetworkDefaults(callers=peers))
    rendered = children(resource(spec), context)
    (policy,) = [one for one in rendered if one["kind"] == "NetworkPolicy"]
    rules = [
        rule
        for rule in policy["spec"]["ingress"]
        if any(port["port"] == 8000 for port in rule["ports"])
    ]
    open_to_all = any("from" not in rule for rule in rules)
    admitted = [peer for rule in rules for peer in rule.get("from", ())]

    result = callers(of_resource, of_chart)

    assert open_to_all == (result == EVERYONE)
    for peer in [] if result == EVERYONE else json.loads(result)[1:]:
        assert peer in admitted or {"podSelector": peer["podSelector"]} in admitted


def test_the_same_callers_are_the_same_in_any_order() -> None:
    assert callers([BLOCK, GATEWAY, WEB]) == callers([WEB, BLOCK, GATEWAY, BLOCK])
    assert callers([WEB]) != callers([WEB], namespace="team-b"), "pods of another namespace"


def test_endpoints_with_the_same_callers_share_a_rule() -> None:
    few = callers([GATEWAY])
    at = {20_003: few, 20_000: EVERYONE, 20_002: EVERYONE, 20_001: few, 20_004: NO_CALLERS}

    policy = activator_policy(FIRST_PORT, at, OF_CHART)

    assert policy["spec"] == {
        "podSelector": SELECTOR,
        "policyTypes": ["Ingress"],
        "ingress": [
            {"ports": tcp(20_000, 20_002)},
            {"ports": tcp(20_001, 20_003), "from": [OWN, GATEWAY]},
            {"ports": tcp(20_004), "from": [OWN]},
        ],
    }


def tcp(*ports: int) -> list[Any]:
    """Return ports as a rule has them."""
    return [{"port": port, "protocol": "TCP"} for port in ports]


def test_a_policy_is_beside_that_of_the_chart_and_deleted_with_it() -> None:
    metadata = activator_policy(20_050, {}, OF_CHART)["metadata"]

    assert (metadata["name"], metadata["namespace"]) == (
        "mistral-small-operator-activator-20050",
        "mistral-system",
    )
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == (
        *("NetworkPolicy", "chart-activator"),
        "uid-of-chart",
    )
    assert names.LABEL_DEPLOYMENT not in metadata["labels"], "it is no child of a resource"


def test_every_port_is_in_the_policy_of_its_range() -> None:
    policies = by_policy(dict.fromkeys(range(FIRST_PORT, FIRST_PORT + PORTS), EVERYONE))

    assert list(policies) == [*range(20_000, 22_000, 50)]
    for first, ports in policies.items():
        assert list(ports) == [*range(first, first + PORTS_PER_POLICY)]


def test_the_longest_callers_of_every_port_fit_into_an_object() -> None:
    numbers = count()

    def labels() -> dict[str, str]:
        prefix = ".".join(["p" * 62] * 4)
        return {f"{prefix}/{next(numbers):063}": "v" * 63 for _ in range(2)}

    def peer() -> Any:
        return {
            "namespaceSelector": {"matchLabels": labels()},
            "podSelector": {"matchLabels": labels()},
        }

    at = {
        FIRST_PORT + number: callers([peer() for _ in range(6)])
        for number in range(PORTS_PER_POLICY)
    }

    policy = activator_policy(FIRST_PORT, at, OF_CHART)

    assert len(policy["spec"]["ingress"]) == PORTS_PER_POLICY
    assert len(json.dumps(policy)) < LARGEST_OBJECT
