"""The operator's rights are what its code uses: not one verb more, not one less."""

from typing import Any

import pytest

from chart_rendering import NAMESPACE, RELEASE, Object, of_kind, render
from mistral_operator.kube import names
from mistral_operator.render.activator_network import EVERYONE, by_policy
from mistral_operator.scale_to_zero import FIRST_PORT, PORTS
from operator_rights import (
    IN_THE_CLUSTER,
    IN_WATCHED_NAMESPACES,
    ON_THE_LEASE,
    ON_THE_MAPS,
    ON_THE_POLICIES,
    Right,
)

LOOKUP = "-activator-lookup"
"""Suffix of the role by which the operator finds the activators."""
PORTS_WRITER = "-activator-ports-writer"
"""Suffix of the role with which it writes maps and policies of the activators."""


def rights(role: Object) -> set[Right]:
    """Return what a role allows."""
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def bound_roles(objects: list[Object]) -> dict[tuple[str, str], Object]:
    """Return the roles that are bound to the operator, by kind and namespace or name."""
    roles = {
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]): one
        for one in objects
        if one["kind"] in {"Role", "ClusterRole"}
    }
    subject = {"kind": "ServiceAccount", "name": RELEASE, "namespace": NAMESPACE}
    bound = {}
    for binding in (*of_kind(objects, "RoleBinding"), *of_kind(objects, "ClusterRoleBinding")):
        assert binding["subjects"] == [subject]
        namespace = binding["metadata"].get("namespace")
        reference = binding["roleRef"]
        role = roles[reference["kind"], namespace, reference["name"]]
        where = namespace or reference["name"]
        assert (reference["kind"], where) not in bound or namespace == NAMESPACE
        where += next(
            (one for one in (LOOKUP, PORTS_WRITER) if reference["name"].endswith(one)), ""
        )
        bound[reference["kind"], where] = role
    return bound


def test_the_operator_may_do_what_its_code_does_and_no_more() -> None:
    roles = bound_roles(render())
    ports = roles.pop(("Role", NAMESPACE + PORTS_WRITER))

    assert set(roles) == {("ClusterRole", RELEASE), ("Role", NAMESPACE)}
    maps, of_chart, policies = ports["rules"]
    assert rights({"rules": [maps]}) == set(ON_THE_MAPS)
    assert maps["resourceNames"] == [names.PORT_MAP, names.KEY_MAP]
    assert rights({"rules": [policies]}) == set(ON_THE_POLICIES)
    all_ports = dict.fromkeys(range(FIRST_PORT, FIRST_PORT + PORTS), EVERYONE)
    assert policies["resourceNames"] == [*map(names.activator_policy, by_policy(all_ports))]
    assert of_chart["verbs"] == ["get"]
    assert of_chart["resourceNames"] == [f"{RELEASE}-activator"]
    assert rights(roles["ClusterRole", RELEASE]) == {*IN_WATCHED_NAMESPACES, *IN_THE_CLUSTER}
    assert rights(roles["Role", NAMESPACE]) == set(ON_THE_LEASE)


def test_watched_namespaces_alone_are_open_to_the_operator() -> None:
    roles = bound_roles(render({"watchNamespaces": ["team-a", "team-b", "team-a"]}))
    lease = roles.pop(("Role", NAMESPACE))
    lookup = roles.pop(("Role", NAMESPACE + LOOKUP))
    ports = roles.pop(("Role", NAMESPACE + PORTS_WRITER))

    assert set(roles) == {("ClusterRole", RELEASE), ("Role", "team-a"), ("Role", "team-b")}
    assert rights(roles["ClusterRole", RELEASE]) == set(IN_THE_CLUSTER)
    assert rights(roles["Role", "team-a"]) == set(IN_WATCHED_NAMESPACES)
    assert rights(roles["Role", "team-b"]) == set(IN_WATCHED_NAMESPACES)
    assert rights(lease) == set(ON_THE_LEASE)
    assert rights(ports) == {*ON_THE_MAPS, *ON_THE_POLICIES}
    assert rights(lookup) == {("discovery.k8s.io", "endpointslices", "list")}


@pytest.mark.parametrize("namespaces", [[], ["team-a"]], ids=["cluster", "namespaces"])
def test_without_an_activator_the_operator_writes_neither_slices_nor_ports(
    namespaces: list[str],
) -> None:
    values = {"activator": {"enabled": False}, "watchNamespaces": namespaces}
    roles = bound_roles(render(values))
    slices = {
        verb
        for role in roles.values()
        for _, resource, verb in rights(role)
        if resource == "endpointslices"
    }

    assert slices == {"get", "list", "watch", "delete"}, "what an earlier one left is deleted"
    assert not any(where.endswith(PORTS_WRITER) for _, where in roles)


def test_without_policies_the_operator_writes_none_beside_the_chart() -> None:
    values = {"networkPolicy": {"enabled": False}, "watchNamespaces": ["team-a"]}
    ports = bound_roles(render(values))["Role", NAMESPACE + PORTS_WRITER]

    assert rights(ports) == set(ON_THE_MAPS)


def test_the_lease_that_is_written_is_the_operators_own() -> None:
    lease = bound_roles(render())["Role", NAMESPACE]
    open_rules = [rule["verbs"] for rule in lease["rules"] if "resourceNames" not in rule]
    named = [rule["resourceNames"] for rule in lease["rules"] if "resourceNames" in rule]

    # A request that creates an object bears no name that a rule could compare.
    assert open_rules == [["create"]]
    assert named == [[names.LEASE]]


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["a"]}], ids=["cluster", "namespaces"])
def test_no_role_of_the_operator_is_a_way_to_more_rights(values: dict[str, Any]) -> None:
    dangerous_groups = {"*", "rbac.authorization.k8s.io", "admissionregistration.k8s.io"}
    dangerous_resources = {"*", "secrets", "pods/exec", "pods/attach", "pods/ephemeralcontainers"}
    dangerous_verbs = {"*", "escalate", "bind", "impersonate", "deletecollection"}

    for role in bound_roles(render(values)).values():
        for group, resource, verb in rights(role):
            assert group not in dangerous_groups
            assert resource not in dangerous_resources
            assert resource != "serviceaccounts/token"
            assert verb not in dangerous_verbs
            assert (resource, verb) != ("pods", "create")


def test_users_get_the_resource_with_the_roles_that_they_have() -> None:
    aggregated = {
        role["metadata"]["name"].removeprefix(f"{RELEASE}-"): role
        for role in of_kind(render(), "ClusterRole")
        if role["metadata"]["name"] != RELEASE
    }
    labels = {
        name: {
            key.rpartition("-to-")[2]
            for key in role["metadata"]["labels"]
            if key.startswith("rbac.authorization.k8s.io/aggregate-to-")
        }
        for name, role in aggregated.items()
    }
    writing = rights(aggregated["edit"])

    assert labels == {"view": {"view", "edit", "admin"}, "edit": {"edit", "admin"}}
    assert {verb for _, _, verb in rights(aggregated["view"])} == {"get", "list", "watch"}
    assert {group for group, _, _ in rights(aggregated["view"]) | writing} == {names.GROUP}
    assert f"{names.PLURAL}/status" not in {resource for _, resource, _ in writing}
