"""Checks of NetworkPolicies that close what must be open. Pure."""

from collections.abc import Iterator

from mistral_operator.kube import names
from mistral_operator.kube.objects import Body
from mistral_operator.plugin.doctor.selectors import selects
from mistral_operator.plugin.doctor.snapshot import Finding, Snapshot, label, name_of


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
    if any(one["spec"].get(direction.lower()) for one in selecting):
        return None
    return selecting[0] if selecting else None


def _directions(policy: Body) -> list[str]:
    spec = policy.get("spec") or {}
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
