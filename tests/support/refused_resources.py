"""Resources that are refused, with the sentence that says so: by the API server and by the models.

`tests/cluster` gives them to a real API server, whose CEL evaluates the rules; the unit tests give
them to `render` and `fit`, and check that no rule of the CRD is without a case.
"""

from typing import Any

import pytest

from builders import resource_body
from mistral_operator.api.manifest import parse_manifest
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.names import MAX_NAME
from refused_endpoints import ENDPOINT_RULES
from refused_pods import POD_RULES
from refused_sources import SOURCE_RULES

Spec = dict[str, Any]

RULES: dict[str, tuple[Spec, str]] = {**POD_RULES, **SOURCE_RULES, **ENDPOINT_RULES}
"""By the CEL rules of the CRD: the sentence is the same from both."""

SCHEMA: dict[str, tuple[Spec, str, str]] = {
    "a memory of the GPU without a unit": (
        {"pod": {"gpu": {"memory": 80}}},
        "spec.pod.gpu.memory is less than 1Gi: did you mean 80Gi?",
        "spec.pod.gpu.memory is less than 1Gi: did you mean 80Gi?",
    ),
    "the same as nvidia-smi says it, in quotes": (
        {"pod": {"gpu": {"memory": "81559"}}},
        "spec.pod.gpu.memory is less than 1Gi: did you mean 81559Mi?",
        "spec.pod.gpu.memory is less than 1Gi: did you mean 81559Mi?",
    ),
    "an argument that has a field": (
        {"engine": {"extraArgs": ["--max-model-len=4096"]}},
        "set spec.engine.contextLength instead of --max-model-len",
        "set spec.engine.contextLength instead of --max-model-len",
    ),
    "a word that YAML reads as false": (
        {"loops": {"action": False}},
        'supported values: "Disabled", "Observe", "Stop", "Off"',
        "YAML reads Off, On, No and Yes as true or false, so put the value in quotes",
    ),
    "a fraction of memory without a unit": (
        {"cache": {"size": 1.5}},
        'must be of type integer,string: "number"',
        "1.5 GiB is 1.5Gi",
    ),
    "a quantity with a negative exponent": (
        {"cache": {"size": "1e-3"}},
        "should match",
        "write it as a quoted quantity",
    ),
    "autoscaling without a limit": (
        {"autoscaling": {}},
        'missing required field "maxReplicas"',
        "spec.autoscaling.maxReplicas: required, but not set",
    ),
    "a replica count below zero": (
        {"replicas": -1},
        "greater than or equal to 0",
        "greater than or equal to 0",
    ),
    "a replica count in words": ({"replicas": "two"}, "integer", "integer"),
    "a replica count in quotes": ({"replicas": "2"}, "integer", "integer"),
    "a truth value in words": ({"suspend": "yes"}, "boolean", "must be true or false"),
    "a field that does not exist": (
        {"replica": 2},
        "unknown field",
        "spec.replica: unknown field; did you mean spec.replicas?",
    ),
    "a memory of very many digits": (
        {"pod": {"gpu": {"memory": "9" * 700_000}}},
        "may not be more than 32",
        "at most 32 characters",
    ),
    "null in a map": (
        {"pod": {"nodeSelector": {"zone": None}}},
        'unknown object type "nil"',
        "spec.pod.nodeSelector.zone: must be a string",
    ),
    "a shortest context below the shortest that is served": (
        {"oom": {"minContextLength": 1023}},
        "greater than or equal to 1024",
        "greater than or equal to 1024",
    ),
}
"""By the CRD's schema, or a rule that quotes the value: what the API server says, and what `render`
and `fit` say."""

NAMES = ("9lives", "a" * (MAX_NAME + 1), "dots.in.it")
"""Names that cannot name a Service."""

NAME_SENTENCE = "metadata.name is also the name of a Service"

ACCEPTED: dict[str, Spec] = {
    "null for a field with a default": {"replicas": None, "tools": {"strict": None}},
    "null for an object": {"engine": None},
    "null for a field without a default": {"cache": None, "model": {"source": {"hub": None}}},
    "null for a field in a list": {"pod": {"tolerations": [{"key": "a", "operator": None}]}},
    "a toleration of every taint": {"pod": {"tolerations": [{"operator": "Exists"}]}},
    "a request that is the limit in another unit": {
        "pod": {"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": 1024**3}}}
    },
    "two ways to spread over the same nodes": {
        "pod": {
            "topologySpread": [
                {"topologyKey": "zone"},
                {"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
            ]
        }
    },
    "an integer as a float": {"replicas": 2.0},
    "quantities with exponents": {
        "cache": {"size": "1e11"},
        "pod": {"resources": {"requests": {"cpu": "4e0", "memory": "3E+10"}}},
    },
    "as many paths as the activator can know": {
        "autoscaling": {"minReplicas": 0, "maxReplicas": 2},
        "gate": {"paths": [f"/v1/path-{number:03}" for number in range(10)]},
    },
    "as many origins as the activator can know": {
        "autoscaling": {"minReplicas": 0, "maxReplicas": 2},
        "gate": {"allowedOrigins": [f"https://{number}.example.com" for number in range(6)]},
    },
    "origins on ports": {
        "gate": {"allowedOrigins": ["http://localhost:3000", "http://10.0.0.1:8080"]}
    },
    "many paths of an endpoint that stays": {
        "autoscaling": {"minReplicas": 1, "maxReplicas": 2},
        "gate": {"paths": [f"/v1/path-{number:03}" for number in range(32)]},
    },
}
"""What Helm templates write, and what is just below a limit: both accept it."""

INVALID_METADATA: dict[str, Spec] = {
    "a number as a label": {"labels": {"a": 1}},
    "a label with a space": {"labels": {"a": "b c"}},
    "a key with a space": {"labels": {"a b": "c"}},
    "a prefix in upper case": {"labels": {"Foo/bar": "c"}},
    "a prefix with two dots": {"labels": {"a..b/c": "d"}},
    "a prefix that begins with a dash": {"annotations": {"-a/b": "c"}},
    "annotations of more than 256 KiB": {"annotations": {"a": "x" * 262_145}},
    "a number as a finalizer": {"finalizers": [1]},
    "an owner without a name": {"ownerReferences": [{}]},
    "a time in words": {"creationTimestamp": "yesterday"},
    "text as finalizers": {"finalizers": "x"},
    "an unknown field": {"label": {}},
}
"""Metadata that both reject, each in its own words."""


def refusal(spec: Any) -> str:
    """Return why a spec in a file is refused."""
    with pytest.raises(InvalidResource) as refused:
        parse_manifest(resource_body(spec))
    return str(refused.value)
