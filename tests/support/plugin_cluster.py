"""A healthy cluster for `kubectl msd doctor`, and mistakes to plant in it."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from builders import GPU, NAME, NAMESPACE, NOW, Object, merged, node_body, resource_body
from fake_api_server import FakeApiServer
from fake_objects import ApiError
from mistral_operator.api.crd import custom_resource_definition
from mistral_operator.kube import kinds, names
from mistral_operator.kube.kinds import Kind
from mistral_operator.plugin.read_snapshot import program_version

SYSTEM = "mistral-system"
OPERATOR = "mistral-small-operator"

Objects = dict[str, tuple[Kind, Object]]
"""Objects of a cluster by names that tests use."""

SPEC: Object = {
    "autoscaling": {"minReplicas": 0, "maxReplicas": 2},
    "cache": {"storageClassName": "fast"},
    "gate": {"apiKeys": {"secret": "callers"}},
}
HEALTHY_STATUS: Object = {
    "observedGeneration": 1,
    "conditions": [
        {"type": kind, "status": status, "reason": reason, "lastTransitionTime": NOW}
        for kind, status, reason in (("Ready", "True", "Ready"), ("Degraded", "False", "Healthy"))
    ],
}
GPU_LABELS = {
    "nvidia.com/gpu.memory": "143771",
    "nvidia.com/gpu.product": "NVIDIA-H200",
    "nvidia.com/gpu.compute.major": "9",
    "nvidia.com/cuda.driver-version.major": "580",
}


def deployment(name: str, namespace: str, *variables: Object, **labels: str) -> Object:
    """Return a Deployment that is ready."""
    app = {names.LABEL_NAME: name, "app.kubernetes.io/version": program_version(), **labels}
    container = {
        "name": "operator",
        "image": "operator",
        "args": ["activate" if name.endswith("activator") else "run"],
        "env": [{"name": "MISTRAL_OPERATOR_IDENTITY", "value": name}, *variables],
    }
    template = {"metadata": {"labels": app}, "spec": {"containers": [container]}}
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": app},
        "spec": {"selector": {"matchLabels": {names.LABEL_NAME: name}}, "template": template},
        "status": {"replicas": 1, "readyReplicas": 1},
    }


def healthy(now: str) -> Objects:
    """Return the objects of a cluster in which nothing is wrong."""
    watched = {"name": "MISTRAL_OPERATOR_NAMESPACES", "value": f"other,{NAMESPACE}"}
    return {
        "node": (
            kinds.NODE,
            node_body(
                metadata={"labels": GPU_LABELS},
                status={"conditions": [{"type": "Ready", "status": "True"}]},
            ),
        ),
        "node without GPUs": (kinds.NODE, node_body("cpu-0", 0)),
        "class": (kinds.STORAGE_CLASS, {"metadata": {"name": "fast"}}),
        "namespace": (
            kinds.NAMESPACE,
            {"metadata": {"name": NAMESPACE, "labels": {names.LABEL_NAMESPACE_NAME: NAMESPACE}}},
        ),
        "definition": (kinds.DEFINITION, _definition()),
        "operator": (kinds.DEPLOYMENT, deployment(OPERATOR, SYSTEM, watched)),
        "activator": (kinds.DEPLOYMENT, deployment(f"{OPERATOR}-activator", SYSTEM)),
        "lease": (
            kinds.LEASE,
            {
                "metadata": {"name": names.LEASE, "namespace": SYSTEM},
                "spec": {
                    "holderIdentity": "operator-1",
                    "leaseDurationSeconds": 12,
                    "renewTime": now,
                },
            },
        ),
        "resource": (kinds.RESOURCE, {**resource_body(SPEC), "status": HEALTHY_STATUS}),
        "secret": (kinds.SECRET, {"metadata": {"name": "callers", "namespace": NAMESPACE}}),
        "monitor": (
            kinds.POD_MONITOR,
            {
                "metadata": {
                    "name": NAME,
                    "namespace": NAMESPACE,
                    "labels": {**names.labels(NAME), "release": "stack"},
                }
            },
        ),
        "prometheus": (
            kinds.PROMETHEUS,
            {
                "metadata": {"name": "k8s", "namespace": "monitoring"},
                "spec": {
                    "podMonitorSelector": {"matchLabels": {"release": "stack"}},
                    "podMonitorNamespaceSelector": {},
                },
            },
        ),
        "quota": (
            kinds.QUOTA,
            {
                "metadata": {"name": "gpus", "namespace": NAMESPACE},
                "spec": {"hard": {f"requests.{GPU}": "8", "requests.memory": "1Ti"}},
            },
        ),
        "limits": (
            kinds.LIMIT_RANGE,
            {
                "metadata": {"name": "limits", "namespace": NAMESPACE},
                "spec": {"limits": [{"type": "Container", "max": {"memory": "512Gi"}}]},
            },
        ),
        "webhook": (
            kinds.VALIDATING_WEBHOOK,
            {
                "metadata": {"name": "policies"},
                "webhooks": [
                    {
                        "name": "policies.example.com",
                        "clientConfig": {"service": {"namespace": "policies", "name": "webhook"}},
                        "rules": [{"resources": ["pods"]}],
                        "failurePolicy": "Fail",
                    }
                ],
            },
        ),
        "service": (
            kinds.SERVICE,
            {"metadata": {"name": "webhook", "namespace": "policies"}, "spec": {"ports": []}},
        ),
        "policy": (kinds.NETWORK_POLICY, closing_policy(NAMESPACE, "Ingress")),
    }


@cache
def _definition() -> Object:
    return custom_resource_definition()


def closing_policy(namespace: str, *directions: str) -> Object:
    """Return a NetworkPolicy that closes all pods of a namespace."""
    return {
        "metadata": {"name": "deny-all", "namespace": namespace},
        "spec": {"podSelector": {}, "policyTypes": list(directions)},
    }


def serving(objects: Objects, *, forbidden: Iterable[str] = ()) -> FakeApiServer:
    """Return an API server with these objects.

    Args:
        objects: by any name.
        forbidden: plurals of kinds that the user may not read.
    """
    server = FakeApiServer(
        optional_kinds=(
            *kinds.OPTIONAL_KINDS,
            kinds.PROMETHEUS,
            kinds.PROMETHEUS_AGENT,
            kinds.VM_AGENT,
        )
    )
    for kind, body in objects.values():
        server.objects.create(kind, body)
    plurals = set(forbidden)

    def reject(path: str) -> ApiError | None:
        if plurals.isdisjoint(path.split("/")):
            return None
        return ApiError(403, "Forbidden", f"User reader cannot get {path}")

    server.before_read = reject
    return server


Mistake = tuple[Callable[[Objects], None], str, str]
"""What plants it, the object that is named, and a part of the sentence."""


def without(name: str) -> Callable[[Objects], None]:
    """Return what removes an object."""

    def remove(objects: Objects) -> None:
        del objects[name]

    return remove


def changed(name: str, **changes: Any) -> Callable[[Objects], None]:
    """Return what changes an object; None removes a field."""

    def change(objects: Objects) -> None:
        kind, body = objects[name]
        objects[name] = kind, _without_nulls(merged(body, changes))

    return change


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return value


def added(kind: Kind, body: Object) -> Callable[[Objects], None]:
    """Return what adds an object."""

    def add(objects: Objects) -> None:
        objects["added"] = kind, body

    return add


def _older_definition(objects: Objects) -> None:
    kind, body = objects["definition"]
    (version,) = body["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    spec = schema["properties"]["spec"]
    fields = {name: one for name, one in spec["properties"].items() if name != "autoscaling"}
    older = {
        **schema,
        "properties": {**schema["properties"], "spec": {**spec, "properties": fields}},
    }
    versions = [{**version, "schema": {"openAPIV3Schema": older}}]
    objects["definition"] = kind, merged(body, {"spec": {"versions": versions}})


RESOURCE = f"{names.KIND} {NAMESPACE}/{NAME}"
NODE = "Node gpu-0"
OPERATOR_NAME = f"Deployment {SYSTEM}/{OPERATOR}"

MISTAKES: dict[str, Mistake] = {
    "no node has GPUs": (without("node"), "Nodes", f"none of 1 node offers {GPU}"),
    "the device plugin does not run": (
        changed("node", status={"allocatable": {GPU: "0"}}),
        NODE,
        f"has a GPU by its label nvidia.com/gpu.product and offers no {GPU}",
    ),
    "the only GPUs are cordoned": (
        changed("node", spec={"unschedulable": True}),
        NODE,
        f"every node with {GPU} is cordoned: kubectl uncordon gpu-0",
    ),
    "a node has too few GPUs": (
        changed("node", status={"allocatable": {GPU: "1"}}),
        RESOURCE,
        "the largest node offers 1: lower spec.engine.tensorParallelSize",
    ),
    "the memory of the GPUs is not labeled": (
        changed("node", metadata={"labels": {"nvidia.com/gpu.memory": None}}),
        NODE,
        "without the label nvidia.com/gpu.memory: install NVIDIA GPU feature discovery",
    ),
    "the GPUs are too small": (
        changed("node", metadata={"labels": {"nvidia.com/gpu.memory": "16384"}}),
        RESOURCE,
        "cannot run on the GPUs of any node (DoesNotFit): weights take",
    ),
    "the GPUs are too old": (
        changed("node", metadata={"labels": {"nvidia.com/gpu.compute.major": "7"}}),
        RESOURCE,
        "cannot run on the GPUs of any node (GpusUnsuitable)",
    ),
    "the driver is too old": (
        changed("node", metadata={"labels": {"nvidia.com/cuda.driver-version.major": "570"}}),
        NODE,
        "has NVIDIA driver 570, and CUDA 13.0 of the server image needs 580",
    ),
    "a node is not ready": (
        changed(
            "node",
            status={"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletDown"}]},
        ),
        NODE,
        "is not ready (KubeletDown): kubectl describe node gpu-0",
    ),
    "the StorageClass does not exist": (
        without("class"),
        RESOURCE,
        "StorageClass fast of spec.cache does not exist",
    ),
    "there is no default StorageClass": (
        changed("resource", spec={"cache": {"storageClassName": None}}),
        RESOURCE,
        "spec.cache names no StorageClass, and the cluster has no default",
    ),
    "a quota allows too few GPUs": (
        changed("quota", spec={"hard": {f"requests.{GPU}": "1"}}),
        f"ResourceQuota {NAMESPACE}/gpus",
        f"allows requests.{GPU} 1, and a replica of {RESOURCE} needs 2",
    ),
    "a quota requires limits": (
        changed("quota", spec={"hard": {"limits.cpu": "100"}}),
        f"ResourceQuota {NAMESPACE}/gpus",
        "set spec.pod.resources.limits.cpu",
    ),
    "a LimitRange allows too little memory": (
        changed("limits", spec={"limits": [{"type": "Container", "max": {"memory": "4Gi"}}]}),
        f"LimitRange {NAMESPACE}/limits",
        "allows memory 4Gi for a container, and container server of",
    ),
    "a quota allows no pods": (
        changed("quota", spec={"hard": {"pods": "0"}}),
        f"ResourceQuota {NAMESPACE}/gpus",
        "allows pods 0, and a replica of",
    ),
    "a quota allows no count/deployments.apps": (
        changed("quota", spec={"hard": {"count/deployments.apps": "0"}}),
        f"ResourceQuota {NAMESPACE}/gpus",
        "allows count/deployments.apps 0, and a replica of",
    ),
    "a quota allows no persistentvolumeclaims": (
        changed("quota", spec={"hard": {"persistentvolumeclaims": "0"}}),
        f"ResourceQuota {NAMESPACE}/gpus",
        "allows persistentvolumeclaims 0, and a replica of",
    ),
    "a LimitRange limits pods": (
        changed("limits", spec={"limits": [{"type": "Pod", "max": {"nvidia.com/gpu": "1"}}]}),
        f"LimitRange {NAMESPACE}/limits",
        "allows nvidia.com/gpu 1 for a pod, and",
    ),
    "a LimitRange requires limits of pods": (
        changed("limits", spec={"limits": [{"type": "Pod", "max": {"ephemeral-storage": "1Gi"}}]}),
        f"LimitRange {NAMESPACE}/limits",
        "requires a limit of ephemeral-storage for a pod",
    ),
    "a LimitRange requires requests of pods": (
        changed("limits", spec={"limits": [{"type": "Pod", "min": {"hugepages-2Mi": "1Gi"}}]}),
        f"LimitRange {NAMESPACE}/limits",
        "requires hugepages-2Mi 1Gi for a pod",
    ),
    "a LimitRange limits claims": (
        changed(
            "limits",
            spec={"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}]},
        ),
        f"LimitRange {NAMESPACE}/limits",
        "allows storage 1Gi for a claim, and",
    ),
    "all GPUs are tainted": (
        changed("node", spec={"taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]}),
        NODE,
        "has the taint team=a:NoSchedule",
    ),
    "a policy leaves the operator nothing but DNS": (
        added(
            kinds.NETWORK_POLICY,
            merged(
                closing_policy(SYSTEM, "Egress"),
                {"spec": {"egress": [{"ports": [{"port": 53, "protocol": "UDP"}]}]}},
            ),
        ),
        f"NetworkPolicy {SYSTEM}/deny-all",
        "keeps the operator from the API server",
    ),
    "a webhook has no Service": (
        without("service"),
        "ValidatingWebhookConfiguration policies",
        "only if Service policies/webhook answers, and that does not exist",
    ),
    "the API server rejects the pods": (
        added(
            kinds.DEPLOYMENT,
            {
                **deployment(NAME, NAMESPACE, **names.labels(NAME)),
                "status": {
                    "conditions": [
                        {
                            "type": "ReplicaFailure",
                            "status": "True",
                            "message": 'violates PodSecurity "restricted:latest"',
                        }
                    ]
                },
            },
        ),
        f"Deployment {NAMESPACE}/{NAME}",
        "the API server rejects its pods: violates PodSecurity",
    ),
    "a policy closes an endpoint": (
        changed("resource", spec={"networkPolicy": False}),
        f"NetworkPolicy {NAMESPACE}/deny-all",
        f"closes the pods of {RESOURCE}",
    ),
    "a policy closes the operator": (
        added(kinds.NETWORK_POLICY, closing_policy(SYSTEM, "Egress")),
        f"NetworkPolicy {SYSTEM}/deny-all",
        "keeps the operator from the API server",
    ),
    "the CRD is missing": (
        without("definition"),
        f"CustomResourceDefinition {names.PLURAL}.{names.GROUP}",
        "is not installed",
    ),
    "the CRD is old": (
        _older_definition,
        f"CustomResourceDefinition {names.PLURAL}.{names.GROUP}",
        "is older than this program",
    ),
    "the operator is missing": (
        without("operator"),
        "operator",
        "no Deployment of an operator exists",
    ),
    "the operator does not run": (
        changed("operator", status={"readyReplicas": 0}),
        OPERATOR_NAME,
        f"no replica of the operator is ready: kubectl logs -n {SYSTEM} deployment/{OPERATOR}",
    ),
    "the operator has another version": (
        changed("operator", metadata={"labels": {"app.kubernetes.io/version": "0.0.1"}}),
        OPERATOR_NAME,
        "the operator has version 0.0.1, and this program",
    ),
    "no replica leads": (
        changed("lease", spec={"renewTime": "2026-03-01T11:00:00.000000Z"}),
        f"Lease {SYSTEM}/{names.LEASE}",
        "no replica of the operator leads",
    ),
    "the Lease is missing": (
        without("lease"),
        f"Lease {SYSTEM}/{names.LEASE}",
        "no replica of the operator leads",
    ),
    "the namespace is not watched": (
        changed(
            "operator",
            spec={
                "template": {
                    "spec": {
                        "containers": [
                            {
                                "name": "operator",
                                "env": [{"name": "MISTRAL_OPERATOR_NAMESPACES", "value": "other"}],
                            }
                        ]
                    }
                }
            },
        ),
        f"Namespace {NAMESPACE}",
        f"{OPERATOR_NAME} watches only other: add the namespace to the chart value watchNamespaces",
    ),
    "the activator does not run": (
        changed("activator", status={"readyReplicas": 0}),
        RESOURCE,
        "can scale to zero, and no activator is ready",
    ),
    "a Secret is missing": (
        without("secret"),
        f"Secret {NAMESPACE}/callers",
        f"does not exist, and {RESOURCE} names it",
    ),
    "no Prometheus selects the PodMonitor": (
        changed("monitor", metadata={"labels": {"release": "other"}}),
        f"PodMonitor {NAMESPACE}/{NAME}",
        "Prometheus monitoring/k8s selects release=stack: set the chart value endpoints.podMonitor",
    ),
    "no Prometheus reads the namespace": (
        changed(
            "prometheus",
            spec={"podMonitorNamespaceSelector": {"matchLabels": {"monitored": "true"}}},
        ),
        f"PodMonitor {NAMESPACE}/{NAME}",
        f"no Prometheus selects PodMonitors of namespace {NAMESPACE}",
    ),
    "no operator reports": (
        changed("resource", status={"conditions": []}),
        RESOURCE,
        "no operator has reported on it",
    ),
    "the hub cannot be reached": (
        changed(
            "resource",
            status={
                "conditions": [
                    {
                        "type": "Degraded",
                        "status": "True",
                        "reason": "FetchFailed",
                        "message": "the hub says 401",
                        "lastTransitionTime": NOW,
                    }
                ]
            },
        ),
        RESOURCE,
        "FetchFailed: the hub says 401: kubectl msd status small -n models",
    ),
}
"""Mistakes, each the only one in a healthy cluster."""
