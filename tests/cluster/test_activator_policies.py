"""What a real API server makes of the policies of the activators' ports."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from activator_process import SETTINGS, sleeper
from cluster_namespace import Namespace, Object
from mistral_operator.api.network import Network
from mistral_operator.control.activator_policies import ActivatorPolicies
from mistral_operator.kube import names
from mistral_operator.kube.client import Cluster
from mistral_operator.render import NetworkDefaults
from mistral_operator.render.activator_network import EVERYONE, NO_CALLERS, callers_of
from mistral_operator.scale_to_zero import FIRST_PORT
from operator_process import OperatorProcess

CHART = "chart-activator"
SELECTOR = {"matchLabels": {"app": "activator", names.CALLERS: names.LIMITED}}
FIRST = names.activator_policy(FIRST_PORT)
GATEWAY = {"namespaceSelector": {"matchLabels": {"team": "gateway"}}}
PEERS: list[Any] = [
    GATEWAY,
    {"podSelector": {"matchLabels": {"app": "web"}}},
    {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}},
    {"namespaceSelector": {}},
    {"ipBlock": {"cidr": "10.20.0.0/16"}},
    {"ipBlock": {"cidr": "fd12:3456::/32"}},
]
OWN: Object = {"podSelector": {}}


def few(*peers: Any) -> str:
    """Return these callers."""
    network = Network.model_validate({"callers": list(peers)})
    return callers_of(network, "team-a", NetworkDefaults())


def install(cluster: Namespace, namespace: str) -> None:
    """Create the policy of the chart in a namespace."""
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": CHART, "namespace": namespace},
        "spec": {"podSelector": SELECTOR, "policyTypes": ["Ingress"]},
    }
    cluster.cluster.kubectl("apply", "--server-side", "-f", "-", text=json.dumps(policy))


def rules(namespace: Namespace, port: int, where: str | None = None) -> list[Any]:
    """Return who may connect to a port, for each rule; None in it is everyone."""
    text = namespace.cluster.kubectl(
        *("get", "networkpolicies", "--output=json", f"--namespace={where or namespace.name}")
    )
    return [
        rule.get("from")
        for policy in json.loads(text)["items"]
        for rule in policy["spec"].get("ingress", ())
        if any(one["port"] == port for one in rule["ports"])
    ]


@pytest.fixture
async def policies(unserved: Namespace) -> AsyncIterator[ActivatorPolicies]:
    """Return what writes the policies into a namespace with that of the chart."""
    install(unserved, unserved.name)
    async with await Cluster.connect(1, str(unserved.cluster.kubeconfig)) as cluster:
        yield ActivatorPolicies(cluster, unserved.name, CHART)


async def test_each_kind_of_caller_is_stored_as_it_was_written(
    unserved: Namespace, policies: ActivatorPolicies
) -> None:
    at = {20_000 + number: few(one) for number, one in enumerate(PEERS)}
    at |= {20_040: EVERYONE, 20_041: NO_CALLERS, 20_060: few(*PEERS)}

    await policies.publish(at)

    assert not await policies.were_changed()
    assert rules(unserved, 20_000) == [[OWN, GATEWAY]]
    assert rules(unserved, 20_040) == [None]
    assert rules(unserved, 20_041) == [[OWN]]
    assert [len(peers) for peers in rules(unserved, 20_060)] == [1 + len(PEERS)]
    await policies.publish({})
    assert not await policies.were_changed(), "the API server leaves out an empty list"
    assert rules(unserved, 20_040) == []


async def test_a_new_operator_leaves_what_is_as_it_should_be(
    unserved: Namespace, policies: ActivatorPolicies
) -> None:
    at = {20_000 + number: few(one) for number, one in enumerate(PEERS)}
    await policies.publish(at)
    before = unserved.get("networkpolicy", FIRST)

    async with await Cluster.connect(1, str(unserved.cluster.kubeconfig)) as cluster:
        await ActivatorPolicies(cluster, unserved.name, CHART).publish(at)

    assert unserved.get("networkpolicy", FIRST) == before


async def test_what_others_write_into_a_policy_is_removed(
    unserved: Namespace, policies: ActivatorPolicies
) -> None:
    at = {20_000: few(GATEWAY)}
    await policies.publish(at)
    open_to_all = [{"op": "add", "path": "/spec/ingress/-", "value": {}}]
    unserved.kubectl("patch", "networkpolicy", FIRST, "--type=json", "-p", json.dumps(open_to_all))

    assert await policies.were_changed()
    await policies.publish(at)

    body = unserved.get("networkpolicy", FIRST)
    assert body is not None
    assert [rule["from"] for rule in body["spec"]["ingress"]] == [[OWN, GATEWAY]]


async def test_callers_that_the_api_server_rejects_keep_no_others_out(
    unserved: Namespace, policies: ActivatorPolicies
) -> None:
    rejected = json.dumps([OWN, {"ipBlock": {"cidr": "10.20.0.0/99"}}])

    await policies.publish({20_000: few(GATEWAY), 20_001: rejected, 20_002: EVERYONE})

    assert rules(unserved, 20_000) == [[OWN, GATEWAY]]
    assert rules(unserved, 20_001) == [[OWN]]
    assert rules(unserved, 20_002) == [None]


async def test_the_policies_are_deleted_with_that_of_the_chart(
    unserved: Namespace, policies: ActivatorPolicies
) -> None:
    await policies.publish({20_000: EVERYONE})

    unserved.kubectl("delete", "networkpolicy", CHART)
    unserved.until(lambda: unserved.get("networkpolicy", FIRST) is None, "no policy")

    install(unserved, unserved.name)
    assert await policies.were_changed()
    await policies.publish({20_000: EVERYONE})
    assert rules(unserved, 20_000) == [None]


# --- A running operator ---------------------------------------------------------------------------


@pytest.fixture
def operator_settings(unserved: Namespace) -> dict[str, str]:
    """Let the operator find the activators and the policy of the chart."""
    install(unserved, "default")
    return {**SETTINGS, "ACTIVATOR_NETWORK_POLICY": CHART}


def test_a_running_operator_opens_the_port_of_an_endpoint_to_its_callers(
    unserved: Namespace, operator: OperatorProcess
) -> None:
    assert operator.process is not None
    owner = sleeper()
    unserved.apply({**owner, "spec": {**owner["spec"], "network": {"callers": [GATEWAY]}}})
    port = unserved.wait_for("endpointslice", "small-activator")["ports"][0]["port"]

    assert rules(unserved, port, "default") == [[OWN, GATEWAY]], "before the slice leads there"
    unserved.kubectl("patch", "msd", "small", "--type=merge", "-p", '{"spec":{"network":null}}')
    unserved.until(lambda: rules(unserved, port, "default") == [None], "everyone")
