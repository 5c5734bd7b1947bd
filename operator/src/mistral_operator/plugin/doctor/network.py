"""Checks of NetworkPolicies that close what must be open. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from mistral_operator.kube import names
from mistral_operator.kube.objects import Body
from mistral_operator.plugin.doctor.selectors import selects
from mistral_operator.plugin.doctor.snapshot import Finding, Snapshot, label, name_of

_DNS_PORTS = {53, "dns", "dns-tcp"}


def closed_endpoints(snapshot: Snapshot) -> Iterator[Finding]:
    """Find endpoints without a policy of the operator that policies of the namespace close."""
    for resource in snapshot.endpoints():
        if resource.spec.network_policy:
            continue  # policies add up, and the operator's allows what is needed
        policies = snapshot.network_policies or ()
        closing = _closing(policies, "Ingress", names.labels(resource.name))
        if closing is not None:
            yield Finding(
                name_of("NetworkPolicy", closing),
                f"closes the pods of {label(resource)} to their clients and to the operator",
                "set spec.networkPolicy to true, or allow ports 8000 and 8001",
            )


def closed_operator(snapshot: Snapshot) -> Iterator[Finding]:
    """Find operators that cannot reach the API server."""
    for operator in snapshot.operators or ():
        namespace = operator["metadata"]["namespace"]
        template = operator.get("spec", {}).get("template", {})
        pod_labels = template.get("metadata", {}).get("labels") or {}
        policies = [
            one
            for one in snapshot.operator_policies or ()
            if one["metadata"]["namespace"] == namespace
        ]
        closing = _closing(policies, "Egress", pod_labels)
        if closing is not None:
            yield Finding(
                name_of("NetworkPolicy", closing),
                "keeps the operator from the API server and from its endpoints",
                "set networkPolicy.enabled of the chart to true, or allow its egress",
            )


def _closing(
    policies: tuple[Body, ...] | list[Body], direction: str, labels: dict[str, str]
) -> Body | None:
    """Return a policy that closes a direction to pods, None if they are open."""
    selecting = [
        one
        for one in policies
        if direction in _directions(one) and selects(one["spec"].get("podSelector") or {}, labels)
    ]
    rules = [rule for one in selecting for rule in one["spec"].get(direction.lower()) or ()]
    if not all(map(_is_for_dns, rules)):
        return None
    return selecting[0] if selecting else None


def _is_for_dns(rule: Mapping[str, Any]) -> bool:
    """Tell whether a rule allows nothing but DNS, as it goes with a policy that denies all."""
    ports = rule.get("ports") or ()
    return bool(ports) and all(
        one.get("port") in _DNS_PORTS and "endPort" not in one for one in ports
    )


def _directions(policy: Body) -> list[str]:
    spec = policy.get("spec") or {}
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
