"""Check of taints that keep endpoints from all nodes with GPUs. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from mistral_operator.kube.objects import Body
from mistral_operator.plugin.doctor.rendered import pod_spec
from mistral_operator.plugin.doctor.snapshot import Finding, Snapshot
from mistral_operator.watch.nodes import node_facts

_OF_KUBERNETES = "node.kubernetes.io/"
"""Prefix of taints for the state of a node, on which other checks report."""


def taints(snapshot: Snapshot) -> Iterator[Finding]:
    """Find endpoints that tolerate no node with GPUs; a taint for the GPUs themselves is usual."""
    for name, spec in snapshot.planned():
        resource = spec.pod.gpu.resource_name
        tolerations = pod_spec(spec).get("tolerations") or []
        nodes = [
            body
            for body in snapshot.nodes or ()
            if (facts := node_facts(body)).count(resource) and not facts.cordoned
        ]
        repelling = [_repelling(one, resource, tolerations) for one in nodes]
        if nodes and repelling[0] is not None and None not in repelling:
            yield Finding(
                f"Node {nodes[0]['metadata']['name']}",
                f"has the taint {_text(repelling[0])}, {name} does not tolerate it, and no other"
                f" node with {resource} takes it either",
                "set spec.pod.tolerations, or remove the taint",
            )


def _repelling(
    node: Body, resource: str, tolerations: list[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """Return a taint of a node that is not tolerated, None if there is none."""
    tainted: list[Mapping[str, Any]] = (node.get("spec") or {}).get("taints") or []
    for taint in tainted:
        key = str(taint.get("key"))
        if key == resource or key.startswith(_OF_KUBERNETES):
            continue
        if taint.get("effect") == "PreferNoSchedule":
            continue
        if not any(_tolerates(one, taint) for one in tolerations):
            return taint
    return None


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in {None, "", taint.get("effect")}:
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in {None, "", taint.get("key")}
    same_key = toleration.get("key") == taint.get("key")
    return same_key and (toleration.get("value") or "") == (taint.get("value") or "")


def _text(taint: Mapping[str, Any]) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint.get('key')}{value}:{taint.get('effect')}"
