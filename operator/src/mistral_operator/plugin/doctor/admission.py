"""Checks of what admits or rejects objects: webhooks, policies, pod security. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from mistral_operator.kube.kinds import RESOURCE
from mistral_operator.kube.names import LABEL_NAMESPACE_NAME, labels
from mistral_operator.kube.objects import Body
from mistral_operator.plugin.doctor.selectors import selects
from mistral_operator.plugin.doctor.snapshot import Finding, Snapshot, name_of
from mistral_operator.watch.deployments import deployment_facts

_LEVEL = "pod-security.kubernetes.io/enforce"
_CONCERNED = {
    "": {"pods"},
    "apps": {"deployments", "replicasets"},
    RESOURCE.group: {RESOURCE.plural},
}
"""Kinds by their group."""
_ALL = {"*", "*/*"}
_OPERATIONS = {"*", "CREATE", "UPDATE"}


def unanswered_webhooks(snapshot: Snapshot) -> Iterator[Finding]:
    """Find webhooks that must admit objects of endpoints, and whose Service does not exist."""
    objects = list(_object_labels(snapshot))
    for body in snapshot.webhooks or ():
        for webhook in body.get("webhooks") or ():
            service = service_of(webhook)
            if service is None or snapshot.services.get(service, True):
                continue
            if not selects(webhook.get("namespaceSelector") or {}, _labels(snapshot)):
                continue
            if not any(selects(webhook.get("objectSelector") or {}, one) for one in objects):
                continue
            namespace, name = service
            yield Finding(
                name_of(str(body.get("kind") or "webhook configuration"), body),
                f"admits pods only if Service {namespace}/{name} answers, and that does not exist",
                "delete the configuration, or restore the Service",
            )


def _object_labels(snapshot: Snapshot) -> Iterator[dict[str, str]]:
    """Yield the labels of the objects that are admitted; without endpoints those of any."""
    endpoints = list(snapshot.endpoints())
    for resource in endpoints:
        yield labels(resource.name)
        yield {**resource.spec.pod.labels, **labels(resource.name)}
    yield from (body["metadata"].get("labels") or {} for body in snapshot.resources or ())
    if not endpoints:
        yield labels("any")


def _labels(snapshot: Snapshot) -> dict[str, str]:
    """Return the labels of the namespace; at least the one that every namespace has."""
    body = snapshot.namespace_body
    own = {} if body is None else body["metadata"].get("labels") or {}
    return {LABEL_NAMESPACE_NAME: snapshot.namespace, **own}


def service_of(webhook: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return namespace and name of the Service of a webhook that can reject an endpoint's pods."""
    service = (webhook.get("clientConfig") or {}).get("service")
    if service is None or webhook.get("failurePolicy") == "Ignore":
        return None
    if webhook.get("matchConditions") or not any(map(_concerns, webhook.get("rules") or ())):
        return None  # conditions are CEL, which only the API server evaluates
    return service["namespace"], service["name"]


def _concerns(rule: Mapping[str, Any]) -> bool:
    groups, resources = rule.get("apiGroups") or ["*"], set(rule.get("resources") or ())
    concerned = {
        kind
        for group, kinds in _CONCERNED.items()
        if group in groups or "*" in groups
        for kind in kinds
    }
    operations = set(rule.get("operations") or ["*"])
    return bool(operations & _OPERATIONS and concerned and resources & (concerned | _ALL))


def rejected_pods(snapshot: Snapshot) -> Iterator[Finding]:
    """Find Deployments whose pods the API server rejects."""
    level = _level(snapshot.namespace_body)
    for body in snapshot.deployments or ():
        message = deployment_facts(body).replica_failure
        if not message:
            continue
        remedy = "raise the quota, or change the policy that rejects them"
        if "PodSecurity" in message:
            remedy = (
                f"the namespace enforces the level {level}, which the operator's pods comply with:"
                " remove what a webhook adds to them, or lower the level"
            )
        yield Finding(
            name_of("Deployment", body), f"the API server rejects its pods: {message}", remedy
        )


def _level(namespace: Body | None) -> str:
    if namespace is None:
        return "of its labels"
    labels = namespace["metadata"].get("labels") or {}
    return str(labels.get(_LEVEL, "of the cluster's default"))
