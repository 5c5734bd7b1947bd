"""What a fake API server fills in and refuses, as far as the operator has to live with it. Pure."""

from builders import Object
from mistral_operator.kube import kinds
from mistral_operator.kube.kinds import Kind

IMMUTABLE = {
    kinds.DEPLOYMENT: ("spec", "selector"),
    kinds.ENDPOINT_SLICE: ("addressType",),
}
"""Where a kind has a field that keeps its first value."""


def with_defaults(kind: Kind, body: Object) -> Object:
    """Return an object with the fields that the API server adds where they are not set."""
    if kind == kinds.SERVICE:
        spec = {"clusterIP": "10.96.0.7", "sessionAffinity": "None", **body.get("spec", {})}
        ports = [{"protocol": "TCP", **one} for one in spec.get("ports", ())]
        return {**body, "spec": {**spec, "ports": ports}}
    if kind == kinds.DEPLOYMENT:
        return {**body, "spec": {"replicas": 1, "revisionHistoryLimit": 10, **body["spec"]}}
    return body


def invalid(kind: Kind, before: Object | None, body: Object) -> str | None:
    """Return why an object cannot be as it should become, None if it can."""
    owners = body["metadata"].get("ownerReferences", ())
    if sum(bool(one.get("controller")) for one in owners) > 1:
        return "metadata.ownerReferences: Only one reference can have Controller set to true"
    if kind == kinds.SERVICE:
        names = [one.get("name") for one in body["spec"]["ports"]]
        if len(names) != len(set(names)):
            return f"spec.ports[{len(names) - 1}].name: Duplicate value"
    if kind == kinds.CLAIM and before is not None and _is_another_claim(before, body):
        return "spec: Forbidden: spec is immutable after creation except resources.requests"
    path = IMMUTABLE.get(kind)
    if path is not None and before is not None and _at(before, path) != _at(body, path):
        return f"{'.'.join(path)}: Invalid value: field is immutable"
    return None


def _is_another_claim(before: Object, body: Object) -> bool:
    """Tell whether a claim changes in more than its first volume and, once bound, its size."""
    changing = "resources" if "volumeName" in before["spec"] else "volumeName"
    kept = [{**one["spec"], changing: None} for one in (before, body)]
    return kept[0] != kept[1]


def _at(body: Object, path: tuple[str, ...]) -> object:
    for name in path[:-1]:
        body = body.get(name, {})
    return body.get(path[-1])
