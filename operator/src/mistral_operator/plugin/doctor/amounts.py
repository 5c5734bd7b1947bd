"""Checks of the namespace's quotas and limits against what a replica requests. Pure."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from mistral_operator.api.spec import Spec
from mistral_operator.kube.names import FETCH_CONTAINER
from mistral_operator.kube.objects import Body
from mistral_operator.kube.quantities import amount_text, parse_quantity
from mistral_operator.plugin.doctor.rendered import containers
from mistral_operator.plugin.doctor.snapshot import Finding, Snapshot, name_of

_PODS = "spec.pod.resources"


class _Need(NamedTuple):
    """What one replica requests, or is limited to."""

    endpoint: str
    requests: dict[str, Decimal]
    limits: dict[str, Decimal]
    unlimited: frozenset[str]
    """CPU and memory without a limit in a container."""


_OBJECTS = (
    *("pods", "count/pods", "count/deployments.apps", "count/replicasets.apps"),
    *("services", "count/services"),
)
"""Objects of which every endpoint has at least one."""

_CLAIMS = ("persistentvolumeclaims", "count/persistentvolumeclaims")

_SCOPES = {"Container": "a container", "Pod": "a pod", "PersistentVolumeClaim": "a claim"}
"""What a limit is for, by its type."""


def quotas(snapshot: Snapshot) -> Iterator[Finding]:
    """Find quotas that reject the first replica of an endpoint."""
    defaults = _defaults(snapshot.limit_ranges or ())
    for body in snapshot.quotas or ():
        hard = body.get("spec", {}).get("hard") or {}
        if (body.get("spec") or {}).get("scopes") or (body.get("spec") or {}).get("scopeSelector"):
            continue  # it counts only some pods
        for name, spec in snapshot.planned():
            yield from _beyond(name_of("ResourceQuota", body), hard, _need(name, spec), defaults)


def _beyond(
    quota: str, hard: Mapping[str, Any], need: _Need, defaults: set[str]
) -> Iterator[Finding]:
    for key, allowed in hard.items():
        kind, _, resource = key.rpartition(".") if key.startswith("limits.") else ("", "", key)
        resource = resource.removeprefix("requests.")
        amounts = need.limits if kind == "limits" else need.requests
        most = _quantity(allowed)
        if kind == "limits" and resource in need.unlimited - defaults:
            yield Finding(
                quota,
                f"limits {key}, and a container of {need.endpoint} has no such limit",
                f"set {_PODS}.limits.{resource}, or a default in a LimitRange",
            )
        elif resource in amounts and most is not None and amounts[resource] > most:
            yield Finding(
                quota,
                f"allows {key} {_text(resource, most)}, and a replica of {need.endpoint}"
                f" needs {_text(resource, amounts[resource])}",
                "raise the quota",
            )


def limit_ranges(snapshot: Snapshot) -> Iterator[Finding]:
    """Find limits that reject a container of an endpoint."""
    for body in snapshot.limit_ranges or ():
        for limit in body.get("spec", {}).get("limits") or ():
            for name, spec in snapshot.planned():
                for one in _limited(str(limit.get("type")), name, spec):
                    yield from _outside(name_of("LimitRange", body), limit, name, one)


def _limited(kind: str, endpoint: str, spec: Spec) -> list[Body]:
    """Return what a limit of a type is compared with, each as a container."""
    need = _need(endpoint, spec)
    match kind:
        case "Container":
            return containers(spec)
        case "Pod":
            return [{"resources": {"requests": need.requests, "limits": need.limits}}]
        case "PersistentVolumeClaim" if spec.cache is not None:
            return [{"resources": {"requests": {"storage": spec.cache.size}}}]
        case _:
            return []


def _outside(
    limit_range: str, limit: Mapping[str, Any], endpoint: str, container: Body
) -> Iterator[Finding]:
    resources = container.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    kind = str(limit["type"])
    scope = _SCOPES[kind]
    subject = f"container {container['name']} of {endpoint}" if kind == "Container" else endpoint
    for resource in (limit.get("max") or {}) if kind == "Pod" else ():
        if resource not in limits:
            yield Finding(
                limit_range,
                f"requires a limit of {resource} for a pod, and {subject} has none",
                f"set {_PODS}.limits.{resource}",
            )
    for resource, allowed in (limit.get("max") or {}).items():
        most = _quantity(allowed)
        amount = _quantity(limits.get(resource, requests.get(resource)))
        if most is not None and amount is not None and amount > most:
            yield Finding(
                limit_range,
                f"allows {resource} {_text(resource, most)} for {scope}, and {subject}"
                f" has {_text(resource, amount)}",
                f"raise the limit, or lower {_field_of(container, kind, 'limits', resource)}",
            )
    for resource, allowed in (limit.get("min") or {}).items():
        least, amount = _quantity(allowed), _quantity(requests.get(resource))
        if amount is None and kind == "Pod":
            amount = Decimal(0)  # of a container the minimum is the default
        if least is not None and amount is not None and amount < least:
            yield Finding(
                limit_range,
                f"requires {resource} {_text(resource, least)} for {scope}, and"
                f" {subject} requests {_text(resource, amount)}",
                f"lower the minimum, or raise {_field_of(container, kind, 'requests', resource)}",
            )


def _field_of(container: Body, kind: str, amounts: str, resource: str) -> str:
    if kind == "PersistentVolumeClaim":
        return "spec.cache.size"
    is_fetching = container.get("name") == FETCH_CONTAINER
    return f"{'spec.pod.fetchResources' if is_fetching else _PODS}.{amounts}.{resource}"


def _need(name: str, spec: Spec) -> _Need:
    requests, limits, unlimited = dict[str, Decimal](), dict[str, Decimal](), set[str]()
    for container in containers(spec):
        resources = container.get("resources") or {}
        of_limits = resources.get("limits") or {}
        unlimited |= {"cpu", "memory"} - of_limits.keys()
        for kind, total in (("requests", requests), ("limits", limits)):
            for resource, text in (resources.get(kind) or {}).items():
                # One container at a time: the init container ends before the server starts.
                total[resource] = max(
                    total.get(resource, Decimal(0)), _quantity(text) or Decimal(0)
                )
    if spec.cache is not None:
        requests["storage"] = _quantity(spec.cache.size) or Decimal(0)
    counted = (*_OBJECTS, *(_CLAIMS if spec.cache is not None else ()))
    requests.update(dict.fromkeys(counted, Decimal(1)))
    return _Need(name, requests, limits, frozenset(unlimited))


def _defaults(bodies: tuple[Body, ...]) -> set[str]:
    """Return the resources for which a LimitRange sets a limit."""
    return {
        resource
        for body in bodies
        for limit in body.get("spec", {}).get("limits") or ()
        if limit.get("type") == "Container"
        for resource in (*(limit.get("default") or {}), *(limit.get("max") or {}))
    }


def _text(resource: str, amount: Decimal) -> str:
    is_bytes = resource.endswith("storage") or resource.startswith("hugepages-")
    return amount_text("memory" if is_bytes else resource, amount)


def _quantity(text: Any) -> Decimal | None:
    try:
        return None if text is None else parse_quantity(str(text))
    except ValueError:
        return None
