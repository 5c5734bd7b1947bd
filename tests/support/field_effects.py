"""What each field of the spec changes in the children: the paths whose value differs."""

import json
from collections.abc import Iterator
from typing import Any

from builders import UID, Object
from hostile_resources import leaves
from mistral_operator.api import Resource, Spec, parse_resource
from mistral_operator.api.crd import structural
from mistral_operator.api.patterns import EXAMPLES
from mistral_operator.kube import names
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.names import (
    ANNOTATION_ACTIVATION,
    ANNOTATION_APPLIED,
    ANNOTATION_CONFIGURATION,
    API_VERSION,
    KIND,
)
from mistral_operator.render import RenderContext, children
from mistral_operator.scale_to_zero import ActivatorRoute

Path = tuple[str | int, ...]

CONTEXT = RenderContext("server:1", pod_monitors=True, scaled_objects=True)
ROUTE = ActivatorRoute(20_000, ("10.0.0.9",))
SPEC: Object = structural(Spec)

POLICY = {"type": "Pods", "value": 4, "periodSeconds": 30}
EVERYTHING: Object = {
    "systemPrompt": {"source": "ConfigMap", "configMap": {"name": "prompt"}},
    "gate": {"apiKeys": {"secret": "keys"}},
    "cache": {},
    "autoscaling": {
        "driver": "KEDA",
        "minReplicas": 0,
        "maxReplicas": 4,
        "targetInFlight": 8,
        "behavior": {"scaleUp": {"policies": [POLICY]}, "scaleDown": {"policies": [POLICY]}},
    },
    "pod": {
        "tolerations": [{"key": "a", "effect": "NoExecute"}],
        "topologySpread": [{"topologyKey": "zone"}],
    },
    "routing": {"policy": "Prefix"},
    "service": {},
    "network": {"callers": [{"podSelector": {}}], "destinations": [{"podSelector": {}}]},
}
"""A spec in which most fields are read."""

_NODES = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
_NEIGHBORS = {"labelSelector": {"matchLabels": {"app": "a"}}, "topologyKey": "zone"}
_PODS = {
    "requiredDuringSchedulingIgnoredDuringExecution": [_NEIGHBORS],
    "preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "podAffinityTerm": _NEIGHBORS}
    ],
}
_AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_NODES]},
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": _NODES}],
    },
    "podAffinity": _PODS,
    "podAntiAffinity": _PODS,
}
_ITEMS = [{"key": "a", "path": "b"}]
_VOLUMES: dict[str, Object] = {
    "emptyDir": {"sizeLimit": "1Gi"},
    "persistentVolumeClaim": {"claimName": "files"},
    "configMap": {"name": "files", "items": _ITEMS},
    "secret": {"secretName": "files", "items": _ITEMS},
    "projected.sources[0].configMap": {
        "projected": {"sources": [{"configMap": {"name": "files", "items": _ITEMS}}]}
    },
    "projected.sources[0].secret": {
        "projected": {"sources": [{"secret": {"name": "files", "items": _ITEMS}}]}
    },
}


def _volume(kind: str) -> Object:
    source = _VOLUMES[kind]
    return {"name": "files", **(source if kind.startswith("projected") else {kind: source})}


def _variable(source: Object) -> Object:
    return {"pod": {"env": [{"name": "A", "valueFrom": source}]}}


_REFERENCE = {"name": "values", "key": "A"}

BASES: dict[str, Object] = {
    "pod.affinity": {"pod": {"affinity": _AFFINITY}},
    "pod.env[0]": {"pod": {"env": [{"name": "A", "value": "1"}]}},
    "pod.env[0].valueFrom.secretKeyRef": _variable({"secretKeyRef": _REFERENCE}),
    "pod.env[0].valueFrom.configMapKeyRef": _variable({"configMapKeyRef": _REFERENCE}),
    "pod.env[0].valueFrom.fieldRef": _variable({"fieldRef": {"fieldPath": "metadata.name"}}),
    "pod.volumeMounts": {
        "pod": {
            "volumes": [_volume("emptyDir"), {**_volume("emptyDir"), "name": "others"}],
            "volumeMounts": [{"name": "files", "mountPath": "/mnt/files"}],
        }
    },
    "pod.volumes": {"pod": {"volumes": [_volume("emptyDir")]}},
    **{f"pod.volumes[0].{kind}": {"pod": {"volumes": [_volume(kind)]}} for kind in _VOLUMES},
    "pod.dnsConfig.options": {"pod": {"dnsConfig": {"options": [{"name": "ndots"}]}}},
    "pod.hostAliases": {
        "pod": {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a.example.com"]}]}
    },
    "model.source.hub": {"model": {"source": {"hub": {"tokenSecret": {"name": "hub"}}}}},
    "model.source.persistentVolumeClaim": {
        "cache": None,
        "model": {"source": {"persistentVolumeClaim": {"claimName": "models"}}},
    },
    "model.source.image": {
        "cache": None,
        "model": {"source": {"image": {"reference": "models/small:1"}}},
    },
    "model.randomWeights": {
        "cache": None,
        "model": {"source": {"image": {"reference": "models/small:1"}}},
    },
    "model.quantization": {"model": {"format": "huggingface"}},
    "autoscaling.keda.prometheus": {"autoscaling": {"minReplicas": 1, "keda": {}}},
    "engine.speculation": {"engine": {"speculation": {"tokens": 8}}},
    "device": {"engine": {"kvCache": {"memory": "4Gi"}}},
    "systemPrompt.source": {"systemPrompt": {"source": "None", "configMap": None}},
    "network.callers[0].ipBlock": {"network": {"callers": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}},
    "network.destinations[0].ipBlock": {
        "network": {"destinations": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}
    },
}
"""What the fields below a path need besides; None removes a field of EVERYTHING."""

FIXED = {"engine.speculation.method", "pod.env[0].valueFrom.secretKeyRef.key"}
"""Fields with one possible value: the only method, and the name of the variable."""

VALUES: dict[str, Any] = {
    "logs.requests": False,
    "pod.env[0].value": "2",
    "pod.volumeMounts[0].name": "others",
    "pod.fetchResources.requests.memory": "2Gi",
    "pod.labels.memory": "large",
    "pod.dnsConfig.options[0].value": "3",
    "service.type": "LoadBalancer",
    "engine.extraArgs[0]": "--seed=7",
    "model.revision": "v2",
    "model.source.hub.tokenSecret.key": "hf",
    "pod.nodeSelector.memory": "large",
    "pod.gpu.resourceName": "amd.com/gpu",
    "autoscaling.driver": "Operator",
}
"""Values of fields whose schema does not say enough of them."""


SHORT = {
    "router Deployment.spec.template.spec.": "router pod ",
    "Deployment.spec.template.spec.": "pod ",
    "pod containers.server.env.MISTRAL_SERVER_SETTINGS.value.": "settings ",
    "pod initContainers.fetch.env.MISTRAL_FETCH_SETTINGS.value.": "settings fetch.",
    f"EndpointSlice.metadata.annotations.{ANNOTATION_ACTIVATION}.": "EndpointSlice activation ",
}
"""Long paths, and how they are written."""


def name_of(path: Path) -> str:
    """Return a path as in messages: pod.tolerations[0].key."""
    return "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in path)[1:]


def effects() -> Iterator[tuple[str, list[str]]]:
    """Yield each field of the spec with the paths in children that it changes."""
    paths = {*leaves(SPEC)}
    maps = {path[:-1] for path in paths}  # which have an entry of their own
    for path in sorted(paths - maps, key=name_of):
        if name_of(path) in FIXED:
            continue
        base = _base(name_of(path))
        yield name_of(path), _changed(_children(_parsed(base)), _children(_other(base, path)))


def _base(field: str) -> Object:
    result = EVERYTHING
    for start, change in BASES.items():
        if field.startswith(start):
            result = _merged(result, change)
    return result


def _merged(base: Object, change: Object) -> Object:
    both = {**base}
    for key, value in change.items():
        old = base.get(key)
        both[key] = (
            _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return {key: value for key, value in both.items() if value is not None}


def _parsed(spec: Object) -> Resource:
    metadata = {"name": "small", "namespace": "models", "uid": UID, "generation": 1}
    return parse_resource(
        {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}, strict=True
    )


def _other(base: Object, path: Path) -> Resource:
    """Return the resource with another value of one field, the first that is valid."""
    before = _parsed(base)
    for value in _values(path):
        try:
            after = _parsed(_with(base, path, value))
        except InvalidResource:
            continue
        if after.spec != before.spec:
            return after
    raise AssertionError(
        f"add a value of {name_of(path)} to VALUES in tests/support/field_effects.py, or what the"
        " field needs besides to BASES"
    )


def _values(path: Path) -> list[Any]:
    if name_of(path) in VALUES:
        return [VALUES[name_of(path)]]
    schema = SPEC
    for part in path:
        inner = schema["items"] if part == 0 else schema.get("properties", {}).get(part)
        schema = schema["additionalProperties"] if inner is None else inner
    if "enum" in schema:
        return [*schema["enum"]]
    if "pattern" in schema:
        example = EXAMPLES[schema["pattern"]].split(" or ")[0]
        return [example, "3Gi", "700Mi"] if schema.get("x-kubernetes-int-or-string") else [example]
    numbers = [schema.get("minimum", 4096), schema.get("maximum", 4096)]
    low = numbers[0]
    return [True, False, low + 1, low * 1.5, *numbers, 8, 0.85]


def _with(document: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    first, *rest = path
    if first == 0:
        items = document or [None]
        return [_with(items[0], tuple(rest), value), *items[1:]]
    document = document or {}
    return {**document, first: _with(document.get(first), tuple(rest), value)}


def _children(resource: Resource) -> dict[str, list[Any]]:
    """Return the values in the children by their path, without digests."""
    result: dict[str, list[Any]] = {}
    for child in children(resource, CONTEXT, ROUTE):
        content = json.loads(json.dumps(child))
        del content["metadata"]["annotations"][ANNOTATION_APPLIED]
        if child["kind"] == "Deployment":
            annotations = content["spec"]["template"]["metadata"].get("annotations", {})
            annotations.pop(ANNOTATION_CONFIGURATION, None)
        _collect(content, _named(child), result)
    return result


def _named(child: Object) -> str:
    """Return the kind of a child, with what tells that of the router from the endpoint's."""
    kind, name = str(child["kind"]), child["metadata"]["name"]
    of_router = name == names.router("small") or (kind == "Service" and name != "small")
    return f"{name.removeprefix('small-')} {kind}" if of_router else kind


def _collect(value: Any, path: str, result: dict[str, list[Any]]) -> None:
    """Collect the values in a document; the items of a list share their path, or have a name."""
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if isinstance(value, dict):
        for key, inner in value.items():
            _collect(inner, f"{path}.{key}", result)
    elif isinstance(value, list):
        for one in value:
            named = isinstance(one, dict) and isinstance(one.get("name"), str)
            _collect(one, f"{path}.{one['name']}" if named else f"{path}[]", result)
    else:
        result.setdefault(path, []).append(value)


def _changed(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> list[str]:
    """Return the paths whose values differ, and the kind alone of a whole child."""
    kinds = [{path.partition(".")[0] for path in one} for one in (before, after)]
    whole = kinds[0] ^ kinds[1]
    parts = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    return sorted(whole | {_short(one) for one in parts if one.partition(".")[0] not in whole})


def _short(path: str) -> str:
    for long, short in SHORT.items():
        path = path.replace(long, short)
    return path
