"""Checks of the installation: CRD, operator, leader, activator. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from mistral_operator.api.crd import custom_resource_definition
from mistral_operator.kube import names
from mistral_operator.kube.objects import Body
from mistral_operator.plugin.columns import seconds_between
from mistral_operator.plugin.doctor.snapshot import Finding, Snapshot, label, name_of

_VERSION = "app.kubernetes.io/version"
_CRD = f"CustomResourceDefinition {names.PLURAL}.{names.GROUP}"
_SHOWN = 3
"""Fields that a finding names."""


def definition(snapshot: Snapshot) -> Iterator[Finding]:
    """Find a CRD that is missing, or of another version than this program."""
    if not snapshot.definition_is_readable or not snapshot.is_installed:
        return
    if snapshot.definition is None:
        yield Finding(_CRD, "is not installed", "set crds.enabled of the chart, or apply crds/")
        return
    live = set(_fields_of(snapshot.definition))
    own = set(_fields_of(custom_resource_definition()))
    if own - live:
        yield Finding(
            _CRD,
            f"is older than this program ({snapshot.version}): it lacks {_some(own - live)}",
            "upgrade the chart with crds.enabled, or apply crds/ of the release",
        )
    elif live - own:
        yield Finding(
            _CRD,
            f"is newer than this program ({snapshot.version}): it also has {_some(live - own)}",
            "install this program in the version of the operator",
        )


def _some(fields: set[str]) -> str:
    shown = sorted(fields)[:_SHOWN]
    more = len(fields) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _fields_of(body: Body) -> Iterator[str]:
    for version in body["spec"]["versions"]:
        if version["name"] == names.VERSION:
            yield from _paths(version["schema"]["openAPIV3Schema"], "")


def _paths(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, inner in (schema.get("properties") or {}).items():
        here = f"{path}.{name}" if path else name
        if here not in {"apiVersion", "kind", "metadata"}:
            yield here
            yield from _paths(inner, here)
            yield from _paths(inner.get("items") or {}, f"{here}[]")


def operator(snapshot: Snapshot) -> Iterator[Finding]:
    """Find operators that do not run, run twice, or have another version than this program."""
    if snapshot.operators is None or not snapshot.is_installed:
        return
    if not snapshot.operators:
        yield Finding(
            "operator",
            "the CRD is installed, and no Deployment of an operator exists",
            "install the chart mistral-small-operator, or name the namespace of an operator with"
            " another name by --operator-namespace",
        )
    for body in snapshot.operators:
        if not body.get("status", {}).get("readyReplicas"):
            name = body["metadata"]["name"]
            yield Finding(
                name_of("Deployment", body),
                "no replica of the operator is ready",
                f"kubectl logs -n {body['metadata']['namespace']} deployment/{name}",
            )
        version = (body["metadata"].get("labels") or {}).get(_VERSION, snapshot.version)
        if version != snapshot.version:
            yield Finding(
                name_of("Deployment", body),
                f"the operator has version {version}, and this program {snapshot.version}",
                "install this program in the version of the operator",
            )
    cluster_wide = [one for one in snapshot.operators if not watched(one)]
    if len(cluster_wide) > 1:
        yield Finding(
            name_of("Deployment", cluster_wide[1]),
            f"watches all namespaces, as {name_of('Deployment', cluster_wide[0])} does",
            "uninstall one of them",
        )


def lease(snapshot: Snapshot) -> Iterator[Finding]:
    """Find operators of which no replica leads."""
    for body in snapshot.operators or ():
        namespace = body["metadata"]["namespace"]
        if not _elects(body) or not body.get("status", {}).get("readyReplicas"):
            continue
        if namespace not in snapshot.leases:
            continue  # it may not be read
        spec = (snapshot.leases[namespace] or {}).get("spec") or {}
        elapsed = seconds_between(spec.get("renewTime") or "", snapshot.now)
        longest = 2 * int(spec.get("leaseDurationSeconds") or 0)
        if spec.get("holderIdentity") and elapsed is not None and elapsed <= longest:
            continue
        yield Finding(
            f"Lease {namespace}/{names.LEASE}",
            "no replica of the operator leads",
            "check that the operator may write Leases: its log says why it does not",
        )


def watched_namespaces(snapshot: Snapshot) -> Iterator[Finding]:
    """Find a namespace that no operator watches."""
    operators = snapshot.operators or ()
    if not operators or any(
        not watched(one) or snapshot.namespace in watched(one) for one in operators
    ):
        return
    if not snapshot.resources:
        return
    yield Finding(
        f"Namespace {snapshot.namespace}",
        f"{name_of('Deployment', operators[0])} watches only"
        f" {', '.join(sorted(watched(operators[0])))}",
        "add the namespace to the chart value watchNamespaces",
    )


def activator(snapshot: Snapshot) -> Iterator[Finding]:
    """Find endpoints that can scale to zero without an activator that is ready."""
    if snapshot.activators is None or not snapshot.operators:
        return
    ready = any(one.get("status", {}).get("readyReplicas") for one in snapshot.activators)
    for resource in snapshot.endpoints():
        scaling = resource.spec.autoscaling
        if ready or scaling is None or scaling.min_replicas or resource.spec.suspend:
            continue
        yield Finding(
            label(resource),
            "can scale to zero, and no activator is ready",
            "enable or repair the activator of the chart, or set spec.autoscaling.minReplicas to 1",
        )


def runs(deployment: Body, command: str) -> bool:
    """Tell whether a Deployment runs a command of this program, as the chart starts it."""
    pod = deployment.get("spec", {}).get("template", {}).get("spec", {})
    return any(
        one.get("args") == [command]
        and any(
            variable["name"].startswith(("MISTRAL_OPERATOR_", "MISTRAL_ACTIVATOR_"))
            for variable in one.get("env") or ()
        )
        for one in pod.get("containers") or ()
    )


def watched(operator_body: Body) -> set[str]:
    """Return the namespaces that an operator watches, empty for all."""
    text = _variable(operator_body, "MISTRAL_OPERATOR_NAMESPACES")
    return {one.strip() for one in text.split(",") if one.strip()}


def _elects(operator_body: Body) -> bool:
    return _variable(operator_body, "MISTRAL_OPERATOR_LEADER_ELECTION").lower() != "false"


def _variable(deployment: Body, name: str) -> str:
    pod = deployment.get("spec", {}).get("template", {}).get("spec", {})
    values = (
        one.get("value") or ""
        for container in pod.get("containers") or ()
        for one in container.get("env") or ()
        if one["name"] == name
    )
    return next(values, "")
