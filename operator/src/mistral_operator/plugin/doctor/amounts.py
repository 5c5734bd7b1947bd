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
                f"allows {key} {amount_text(resource, most)}, and a replica of {need.endpoint}"
                f" needs {amount_text(resource, amounts[resource])}",
                "raise the quota",
            )


def limit_ranges(snapshot: Snapshot) -> Iterator[Finding]:
    """Find limits that reject a container of an endpoint."""
    for body in snapshot.limit_ranges or ():
        for limit in body.get("spec", {}).get("limits") or ():
            if limit.get("type") != "Container":
                continue
            for name, spec in snapshot.planned():
                for container in containers(spec):
                    yield from _outside(name_of("LimitRange", body), limit, name, container)


def _outside(
    limit_range: str, limit: Mapping[str, Any], endpoint: str, container: Body
) -> Iterator[Finding]:
    resources = container.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    subject = f"container {container['name']} of {endpoint}"
    for resource, allowed in (limit.get("max") or {}).items():
        most = _quantity(allowed)
        amount = _quantity(limits.get(resource, requests.get(resource)))
        if most is not None and amount is not None and amount > most:
            yield Finding(
                limit_range,
                f"allows {resource} {amount_text(resource, most)} for a container, and {subject}"
                f" has {amount_text(resource, amount)}",
                f"raise the limit, or lower {_field_of(container)}.limits.{resource}",
            )
    for resource, allowed in (limit.get("min") or {}).items():
        least, amount = _quantity(allowed), _quantity(requests.get(resource))
        if least is not None and amount is not None and amount < least:
            yield Finding(
                limit_range,
                f"requires {resource} {amount_text(resource, least)} for a container, and"
                f" {subject} requests {amount_text(resource, amount)}",
                f"lower the minimum, or raise {_field_of(container)}.requests.{resource}",
            )


def _field_of(container: Body) -> str:
    is_fetching = container["name"] == FETCH_CONTAINER
    return "spec.pod.fetchResources" if is_fetching else _PODS


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


def _quantity(text: Any) -> Decimal | None:
    try:
        return None if text is None else parse_quantity(str(text))
    except ValueError:
        return None
