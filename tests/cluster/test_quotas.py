"""Quotas and LimitRanges that refuse pods or claims: the cause is named, and its end is noticed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from cluster_namespace import Namespace, Object, resource
from mistral_dev.cluster import Cluster
from operator_process import OperatorProcess

HEALED_SECONDS = 60.0
"""The controller of ReplicaSets tries again after a delay that doubles, by now some 20 s."""

ONE_GPU: Object = {"engine": {"tensorParallelSize": 1}}


def quota(**hard: str) -> Object:
    """Return a ResourceQuota; `hard` has underscores in the place of dots."""
    limits = {name.replace("_", "."): value for name, value in hard.items()}
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team"},
        "spec": {"hard": limits},
    }


def limit_range(kind: str = "Container", **fields: Any) -> Object:
    """Return a LimitRange with one limit."""
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "team"},
        "spec": {"limits": [{"type": kind, **fields}]},
    }


@dataclass(frozen=True)
class Refusal:
    """What an administrator set, what the endpoint says, and what is changed."""

    rule: Object
    parts: tuple[str, ...]
    healed: Object | None = None
    """The rule that lets the pods in; None if the spec is edited."""
    edited: Object = field(default_factory=dict)
    """Fields of the spec that satisfy the rule."""
    spec: Object = field(default_factory=dict)
    reason: str = "PodRejected"
    in_the_end: str = "Ready"


REFUSALS: dict[str, Refusal] = {
    "a-quota-on-pods": Refusal(
        quota(pods="0"),
        ("ResourceQuota team has no room for pods: raise it, or lower spec.replicas",),
        healed=quota(pods="1"),
    ),
    "a-quota-on-memory": Refusal(
        quota(requests_memory="1Gi", limits_memory="1Gi"),
        ("ResourceQuota team has no room for limits.memory, requests.memory: raise it, or lower",),
        healed=quota(requests_memory="64Gi", limits_memory="128Gi"),
    ),
    "a-quota-that-requires-limits": Refusal(
        quota(limits_cpu="16"),
        ("ResourceQuota team requires resources", "limits.cpu for: fetch,server", "or in a Limit"),
        edited={"pod": {"resources": {"limits": {"cpu": "4"}}}},
    ),
    "a-quota-on-claims": Refusal(
        quota(requests_storage="10Gi"),
        (
            "ResourceQuota team has no room for requests.storage: raise it",
            "or lower spec.cache.size",
        ),
        healed=quota(requests_storage="100Gi"),
        spec={"cache": {"storageClassName": "missing"}},
        reason="ApplyFailed",
        in_the_end="ClaimPending",
    ),
    "a-maximum": Refusal(
        limit_range(max={"memory": "16Gi"}),
        ("a LimitRange of the namespace has a maximum of memory for each Container", "is 16Gi"),
        healed=limit_range(max={"memory": "64Gi"}),
    ),
    "a-minimum": Refusal(
        limit_range(min={"cpu": "2"}),
        ("has a minimum of cpu for each Container: change it, or raise cpu in spec.pod.resources",),
        edited={"pod": {"fetchResources": {"requests": {"cpu": "2"}}}},
    ),
    "a-default-below-the-request": Refusal(
        limit_range(default={"cpu": "1"}, defaultRequest={"cpu": "1"}),
        ("sets a limit of cpu below the request: set spec.pod.resources.limits.cpu, or lower",),
        edited={"pod": {"resources": {"limits": {"cpu": "4"}}}},
    ),
}


@pytest.fixture(scope="module")
def refused(cluster: Cluster, shared_operator: OperatorProcess) -> Iterator[dict[str, Namespace]]:
    """Return a namespace with an endpoint for each rule: they come about at the same time."""
    assert shared_operator.process is not None
    made = {name: Namespace(cluster, name) for name in REFUSALS}
    for name, namespace in made.items():
        cluster.kubectl("create", "namespace", name)
        namespace.apply(REFUSALS[name].rule)
    for name, namespace in made.items():
        namespace.apply(resource("small", {**ONE_GPU, **REFUSALS[name].spec}))
    yield made
    cluster.kubectl("delete", "namespace", *made, "--wait=false")


@pytest.fixture(scope="module")
def healed(refused: dict[str, Namespace]) -> dict[str, Namespace]:
    """Return the namespaces after the rule or the spec was changed."""
    for name, namespace in refused.items():
        case = REFUSALS[name]
        if case.healed is not None:
            namespace.apply(case.healed)
        else:
            namespace.apply(resource("small", {**ONE_GPU, **case.spec, **case.edited}))
    return refused


@pytest.mark.parametrize("name", REFUSALS)
def test_the_rule_is_named_with_what_to_change(refused: dict[str, Namespace], name: str) -> None:
    case = REFUSALS[name]

    message = refused[name].wait_for_reason("small", case.reason)["message"]

    for part in case.parts:
        assert part in message
    degraded = refused[name].condition("small", "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", case.reason)


@pytest.mark.parametrize("name", REFUSALS)
def test_an_endpoint_heals_by_itself(healed: dict[str, Namespace], name: str) -> None:
    case = REFUSALS[name]

    healed[name].wait_for_reason("small", case.in_the_end, seconds=HEALED_SECONDS)


def test_what_a_limit_range_adds_to_pods_is_left_alone(served: Namespace) -> None:
    served.apply(limit_range(default={"cpu": "8"}, defaultRequest={"cpu": "8"}))

    served.apply(resource("small", ONE_GPU))

    served.wait_for_reason("small", "Ready")
    (pod,) = served.all_of("pod")
    assert pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "8"
    template = served.wait_for("deployment", "small")["spec"]["template"]["spec"]
    assert "cpu" not in template["containers"][0]["resources"]["limits"]
