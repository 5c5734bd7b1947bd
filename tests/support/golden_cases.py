"""The resources whose children are kept as golden files; for tests/golden and tests/engine."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mistral_dev.paths import CHECKOUT
from mistral_operator.api import Resource, parse_resource
from mistral_operator.kube.names import API_VERSION, KIND, LABEL_DEPLOYMENT
from mistral_operator.prefetch import Placement, Prefetch, PrefetchPhase
from mistral_operator.render import KubernetesObject, RenderContext, children
from mistral_operator.scale_to_zero import ActivatorRoute
from mistral_server.contract import (
    FETCH_SETTINGS_ENV,
    SERVER_SETTINGS_ENV,
    FetchSettings,
    ServerSettings,
)

EXAMPLES = CHECKOUT / "examples"
GOLDEN = CHECKOUT / "tests" / "golden"

IMAGE = "mistral-small-server:golden"
"""Not the version of the day: a release must not change every golden file."""

FROM_CLAIM = {"persistentVolumeClaim": {"claimName": "models"}}

VARIANTS: dict[str, dict[str, Any]] = {
    "suspended": {"suspend": True, "replicas": 3},
    "no-network-policy": {"networkPolicy": False},
    "text-only": {"images": {"perPrompt": 0}},
    "image-domains": {
        "images": {"domains": ["images.example.com"]},
        "model": {"source": FROM_CLAIM},
    },
    "tools-off": {"tools": {"enabled": False}},
    "huggingface-awq": {
        "model": {"id": "example/mistral-awq", "format": "huggingface", "quantization": "awq"},
    },
    "hub-mirror": {
        "model": {
            "source": {
                "hub": {
                    "endpoint": "https://hub.example.com",
                    "tokenSecret": {"name": "hub", "key": "hf"},
                }
            }
        }
    },
    "guarded": {
        "loops": {"action": "Stop", "repeats": 5, "stopRepeats": 10},
        "tools": {"strict": "Enforce"},
        "gate": {
            "apiKeys": {"secret": "callers"},
            "paths": ["/v1/responses"],
            "allowedOrigins": ["https://chat.example.com"],
            "maxBodySize": "8Mi",
            "fitMaxTokens": False,
            "honestFinish": False,
        },
    },
    "customized-pod": {
        "pod": {
            "labels": {"kueue.x-k8s.io/queue-name": "gpus"},
            "annotations": {"karpenter.sh/do-not-disrupt": "true"},
            "env": [
                {"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"},
                {"name": "SSL_CERT_FILE", "value": "/mnt/ca/ca.crt"},
                {
                    "name": "NCCL_DEBUG",
                    "valueFrom": {"configMapKeyRef": {"name": "nccl", "key": "debug"}},
                },
                {
                    "name": "DD_API_KEY",
                    "valueFrom": {"secretKeyRef": {"name": "datadog", "key": "DD_API_KEY"}},
                },
                {
                    "name": "HOST_IP",
                    "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}},
                },
            ],
            "volumes": [
                {"name": "ca", "configMap": {"name": "ca-bundle"}},
                {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
                {"name": "files", "persistentVolumeClaim": {"claimName": "files"}},
                {
                    "name": "both",
                    "projected": {
                        "sources": [
                            {"configMap": {"name": "ca-bundle"}},
                            {
                                "secret": {
                                    "name": "client",
                                    "items": [{"key": "tls.crt", "path": "tls.crt"}],
                                }
                            },
                        ]
                    },
                },
            ],
            "volumeMounts": [
                {"name": "ca", "mountPath": "/mnt/ca"},
                {"name": "scratch", "mountPath": "/data/scratch", "readOnly": False},
                {"name": "files", "mountPath": "/data/files"},
                {"name": "both", "mountPath": "/mnt/both"},
            ],
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "pool", "operator": "Exists"}]}
                        ]
                    }
                },
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 10,
                            "podAffinityTerm": {
                                "labelSelector": {"matchLabels": {"app": "batch"}},
                                "topologyKey": "kubernetes.io/hostname",
                            },
                        }
                    ]
                },
            },
            "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
            "hostAliases": [{"ip": "10.20.0.8", "hostnames": ["hub.example.com"]}],
            "securityContext": {"supplementalGroups": [2000]},
            "fetchResources": {"limits": {"memory": "4Gi"}},
            "serviceAccountAnnotations": {
                "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/small"
            },
        },
        "service": {"annotations": {"service.kubernetes.io/topology-mode": "Auto"}},
    },
    "pod-monitor": {},
    "keda": {"autoscaling": {"driver": "KEDA", "minReplicas": 2, "maxReplicas": 8}},
    "keda-prometheus": {
        "autoscaling": {
            "driver": "KEDA",
            "maxReplicas": 4,
            "targetInFlight": 64,
            "keda": {"prometheus": "http://prometheus.monitoring.svc:9090", "pollingSeconds": 30},
        }
    },
    "asleep": {"replicas": 0, "autoscaling": {"minReplicas": 0, "maxReplicas": 4}},
    "cpu": {
        "device": "cpu",
        "model": {"dtype": "float32", "randomWeights": True, "source": FROM_CLAIM},
        "engine": {"kvCache": {"memory": "64Mi"}, "contextLength": 2048},
    },
    "least-request": {"replicas": 3, "routing": {"policy": "LeastRequest"}},
    "session": {
        "replicas": 3,
        "networkPolicy": False,
        "routing": {
            "policy": "Session",
            "replicas": 3,
            "resources": {"requests": {"memory": "1Gi"}, "limits": {"cpu": "2"}},
        },
    },
    "prefix": {
        "routing": {"policy": "Prefix"},
        "autoscaling": {"minReplicas": 0, "maxReplicas": 4},
        "network": {"callers": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]},
    },
    "speedups": {
        "engine": {
            "speculation": {"tokens": 6, "lookupMin": 3, "lookupMax": 8},
            "kvOffload": {"size": "16Gi"},
        },
    },
    "prefetch": {
        "cache": {"prefetch": "BeforePods"},
        "gate": {"apiKeys": {"secret": "callers"}},
        "images": {"domains": ["images.example.com"]},
        "model": {"source": {"hub": {"tokenSecret": {"name": "hub"}}}},
        "pod": {
            "labels": {"team": "ml"},
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "pool", "operator": "Exists"}]}
                        ]
                    }
                }
            },
        },
    },
    "tuned": {
        "engine": {
            "tensorParallelSize": 4,
            "maxSequences": 64,
            "gpuMemoryUtilization": 0.95,
            "kvCache": {"dtype": "fp8"},
            "apiServers": 4,
            "extraArgs": ["--no-enable-prefix-caching", "--seed=7"],
        },
        "pod": {"runtimeClassName": "nvidia", "resources": {"limits": {"memory": "64Gi"}}},
    },
}
"""Specs of what no example shows. The name of a variant is the name of its golden file."""

_AT_ZERO = {"asleep", "prefix"}
"""Variants whose requests the activators get."""


FETCHING = Prefetch(
    PrefetchPhase.FETCHING,
    "1b1b1b1b-0000-0000-0000-000000000000/0123456789abcdef",
    Placement(nodes=("gpu-0", "gpu-1")),
)
"""The claim is to be created where replicas can run."""


@dataclass(frozen=True)
class Case:
    """One resource as a user writes it, and where it is rendered."""

    name: str
    body: dict[str, Any]
    context: RenderContext = field(default_factory=lambda: RenderContext(IMAGE))
    activation: ActivatorRoute | None = None
    prefetch: Prefetch | None = None

    @property
    def file(self) -> Path:
        """The golden file."""
        return GOLDEN / f"{self.name}.yaml"

    @property
    def resource(self) -> Resource:
        """The parsed resource."""
        return parse_resource(self.body)

    def children(self) -> tuple[KubernetesObject, ...]:
        """Return what is rendered."""
        return children(self.resource, self.context, self.activation, prefetch=self.prefetch)


def body(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Return a resource as the API server sends it."""
    uid = "00000000-0000-0000-0000-000000000000"
    metadata = {"name": name, "namespace": "default", "uid": uid, "generation": 1}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


@cache
def cases() -> dict[str, Case]:
    """Return every case by name: examples first, then variants."""
    return {case.name: case for case in (*_examples(), *_variants())}


def _examples() -> Iterator[Case]:
    for file in sorted(EXAMPLES.glob("*.yaml")):
        (example,) = [one for one in yaml.safe_load_all(file.read_text()) if one["kind"] == KIND]
        yield Case(f"example-{file.stem}", body(example["metadata"]["name"], example["spec"]))


def _variants() -> Iterator[Case]:
    for name, spec in VARIANTS.items():
        context = RenderContext(
            IMAGE, pod_monitors=name == "pod-monitor", scaled_objects=name.startswith("keda")
        )
        activation = ActivatorRoute(20_000, ("10.0.0.9",)) if name in _AT_ZERO else None
        prefetch = FETCHING if name == "prefetch" else None
        yield Case(name, body("mistral-small", spec), context, activation, prefetch)


_SELECTOR = {LABEL_DEPLOYMENT}
"""Labels that select replicas."""


def pod_spec(objects: tuple[KubernetesObject, ...] | list[KubernetesObject]) -> dict[str, Any]:
    """Return the pod spec of the replicas among objects."""
    (deployment,) = [
        one
        for one in objects
        if one["kind"] == "Deployment"
        and one["spec"]["selector"]["matchLabels"].keys() == _SELECTOR
    ]
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def server_settings_in(pod: dict[str, Any]) -> ServerSettings:
    """Return the settings that the server in a pod will read."""
    (text,) = _values(pod["containers"], SERVER_SETTINGS_ENV)
    return ServerSettings.model_validate_json(text)


def fetch_settings_in(pod: dict[str, Any]) -> FetchSettings | None:
    """Return the settings that the fetching container in a pod will read, if there is one."""
    values = _values(pod.get("initContainers", []), FETCH_SETTINGS_ENV)
    return FetchSettings.model_validate_json(values[0]) if values else None


def _values(containers: list[dict[str, Any]], variable: str) -> list[str]:
    return [env["value"] for one in containers for env in one["env"] if env["name"] == variable]
