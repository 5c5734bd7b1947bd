"""The chart's admission policies, on the real API server: what passes and what is refused."""

import json
from copy import deepcopy
from typing import Any

import pytest

from builders import CONTEXT
from chart_rendering import NAMESPACE, RELEASE, Object, of_kind, render, render_activator
from cluster_namespace import Namespace, resource
from golden_cases import FETCHING, VARIANTS
from mistral_dev.cluster import Cluster
from mistral_dev.commands import wait_until
from mistral_dev.errors import CommandFailedError
from mistral_dev.resource_definitions import stand_in, until_established
from mistral_operator.api import parse_resource
from mistral_operator.api.network import Network
from mistral_operator.kube import names
from mistral_operator.render import NetworkDefaults, RenderContext, children
from mistral_operator.render.activator_network import EVERYONE, activator_policy, callers_of
from mistral_operator.scale_to_zero import ActivatorRoute

OPERATOR = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
POLICIES = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
DIGEST = f"@sha256:{'0' * 64}"
GATEWAY = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateway"}}}
PARTNERS = {"ipBlock": {"cidr": "198.51.100.0/24", "except": ["198.51.100.0/30"]}}
MIRROR = {"ipBlock": {"cidr": "10.20.0.0/16"}}
RESTRICTIVE: Object = {
    "enabled": True,
    "allowedImages": ["registry.example.com/ml", "other.example.com", "hub"],
    "requireDigests": True,
    "allowedHubEndpoints": ["https://hub.example.com"],
    "allowedPriorityClasses": ["inference"],
    "allowedTolerationKeys": ["dedicated"],
    "allowedNodeSelectorKeys": ["pool"],
    "allowedGpuResources": ["nvidia.com/gpu"],
    "allowedLabelKeys": ["cost-center"],
    "allowedAnnotationKeys": ["example.com/owner"],
    "allowedEnv": ["TZ"],
    "maxReplicas": 4,
    "maxGpus": 8,
    "requireNetworkPolicy": True,
    "allowedCallers": [GATEWAY, PARTNERS, {"podSelector": {}}],
    "allowedDestinations": [MIRROR],
    "forbidScaleToZero": True,
}


def refusal(cluster: Cluster, body: Object, user: str | None = None, verb: str = "create") -> str:
    """Return why the API server does not take an object, empty if it does."""
    arguments = [verb, "--dry-run=server", "-f", "-"]
    arguments += [] if user is None else [f"--as={user}"]
    try:
        cluster.kubectl(*arguments, text=json.dumps(body))
    except CommandFailedError as error:
        return error.output
    return ""


@pytest.fixture(scope="module")
def guarded(own_cluster: Cluster) -> Cluster:
    """Return a cluster with both policies, in which the operator's account may do everything."""
    cluster = own_cluster
    kinds = (stand_in("PodMonitor"), stand_in("ScaledObject", "keda.sh", "v1alpha1"))
    for definition in kinds:
        cluster.kubectl("apply", "-f", "-", text=json.dumps(definition))
    until_established(cluster)
    cluster.kubectl("create", "namespace", NAMESPACE)
    values = {
        "endpoints": {"isolate": True, "monitoringNamespace": "monitoring"},
        "admission": {"resources": RESTRICTIVE, "operator": {"enabled": True}},
    }
    policies = [one for kind in POLICIES for one in of_kind(render(values), kind)]
    document = {"apiVersion": "v1", "kind": "List", "items": policies}
    cluster.kubectl("apply", "-f", "-", text=json.dumps(document))
    cluster.kubectl(
        *("create", "clusterrolebinding", "stolen", "--clusterrole=cluster-admin"),
        f"--user={OPERATOR}",
    )
    probe = resource("probe", {"image": "elsewhere:1"})
    child = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "probe"}}
    wait_until(lambda: refusal(cluster, probe) != "", "the policy for resources", 60)
    wait_until(lambda: refusal(cluster, child, OPERATOR) != "", "the operator's policy", 60)
    return cluster


def affinity(key: str) -> Object:
    """Return an affinity to nodes with a label."""
    terms = [{"matchExpressions": [{"key": key, "operator": "Exists"}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"nodeAffinity": required}


def preference(key: str) -> Object:
    """Return a preference for nodes with a label."""
    term = {"matchExpressions": [{"key": key, "operator": "Exists"}]}
    preferred = [{"weight": 1, "preference": term}]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


# --- Resources of users ---------------------------------------------------------------------------

ALLOWED: dict[str, Object] = {
    "an empty spec": {},
    "an image of the registry": {"image": f"registry.example.com/ml/server{DIGEST}"},
    "an image with a tag, too": {"image": f"registry.example.com/ml:1{DIGEST}"},
    "an image of another registry": {"image": f"other.example.com/server:1{DIGEST}"},
    "an image without a registry": {"image": f"hub:1{DIGEST}"},
    "the label": {"pod": {"labels": {"cost-center": "7"}}},
    "the annotation": {
        "pod": {
            "annotations": {"example.com/owner": "a"},
            "serviceAccountAnnotations": {"example.com/owner": "a"},
        },
        "service": {"annotations": {"example.com/owner": "a"}},
    },
    "the variable": {"pod": {"env": [{"name": "TZ", "value": "UTC"}]}},
    "the mirror": {"model": {"source": {"hub": {"endpoint": "https://hub.example.com"}}}},
    "a hub without endpoint": {"model": {"source": {"hub": {"tokenSecret": {"name": "t"}}}}},
    "a model's image": {
        "model": {"source": {"image": {"reference": f"registry.example.com/ml/model{DIGEST}"}}}
    },
    "the priority class": {"pod": {"priorityClassName": "inference"}},
    "the toleration": {"pod": {"tolerations": [{"key": "dedicated", "operator": "Exists"}]}},
    "the node selector": {"pod": {"nodeSelector": {"pool": "gpu"}}},
    "affinity to the nodes": {"pod": {"affinity": affinity("pool")}},
    "four replicas": {"replicas": 4},
    "no callers": {"network": {"callers": []}},
    "the callers": {"network": {"callers": [PARTNERS, GATEWAY, {"podSelector": {}}]}},
    "the destination": {"network": {"destinations": [MIRROR]}},
    "one replica at least": {"autoscaling": {"minReplicas": 1, "maxReplicas": 2}},
    "more on CPUs": {
        "device": "cpu",
        "replicas": 4,
        "engine": {"tensorParallelSize": 4, "kvCache": {"memory": "1Gi"}},
    },
}

REFUSED: dict[str, tuple[Object, str]] = {
    "another registry": ({"image": f"elsewhere.example.com/server{DIGEST}"}, "allowedImages"),
    "a registry that begins alike": (
        {"image": f"registry.example.com/mlevil/server{DIGEST}"},
        "allowedImages",
    ),
    "a registry on another port": (
        {"image": f"other.example.com:5000/server{DIGEST}"},
        "allowedImages",
    ),
    "a label that another Service selects": (
        {"pod": {"labels": {"app": "payments"}}},
        "allowedLabelKeys",
    ),
    "an annotation of an injector": (
        {"pod": {"annotations": {"sidecar.istio.io/proxyImage": "elsewhere:1"}}},
        "allowedAnnotationKeys",
    ),
    "a role of a cloud": (
        {"pod": {"serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1"}}},
        "allowedAnnotationKeys",
    ),
    "an annotation that exposes the Service": (
        {"service": {"annotations": {"tailscale.com/expose": "true"}}},
        "allowedAnnotationKeys",
    ),
    "another variable": (
        {"pod": {"env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com"}]}},
        "allowedEnv",
    ),
    "no digest": ({"image": "registry.example.com/ml/server:1"}, "must end in a digest"),
    "a model from elsewhere": (
        {"model": {"source": {"image": {"reference": f"elsewhere.example.com/m{DIGEST}"}}}},
        "allowedImages",
    ),
    "another hub": (
        {"model": {"source": {"hub": {"endpoint": "http://10.0.0.1"}}}},
        "allowedHubEndpoints",
    ),
    "a critical priority": (
        {"pod": {"priorityClassName": "system-node-critical"}},
        "allowedPriorityClasses",
    ),
    "every taint": ({"pod": {"tolerations": [{"operator": "Exists"}]}}, "allowedTolerationKeys"),
    "another taint": (
        {"pod": {"tolerations": [{"key": "control-plane", "operator": "Exists"}]}},
        "allowedTolerationKeys",
    ),
    "another node selector": (
        {"pod": {"nodeSelector": {"node-role.kubernetes.io/control-plane": ""}}},
        "allowedNodeSelectorKeys",
    ),
    "affinity to other nodes": (
        {"pod": {"affinity": affinity("node-role.kubernetes.io/control-plane")}},
        "allowedNodeSelectorKeys",
    ),
    "a preference for other nodes": (
        {"pod": {"affinity": preference("node-role.kubernetes.io/control-plane")}},
        "allowedNodeSelectorKeys",
    ),
    "another device": (
        {"pod": {"gpu": {"resourceName": "example.com/hsm"}}},
        "allowedGpuResources",
    ),
    "five replicas": ({"replicas": 5}, "maxReplicas"),
    "five by autoscaling": (
        {"autoscaling": {"minReplicas": 1, "maxReplicas": 5}},
        "maxReplicas",
    ),
    "no policy": ({"networkPolicy": False}, "requireNetworkPolicy"),
    "callers from everywhere": (
        {"network": {"callers": [GATEWAY, {"namespaceSelector": {}}]}},
        "allowedCallers",
    ),
    "pods beside the callers": (
        {"network": {"callers": [{**GATEWAY, "podSelector": {}}]}},
        "allowedCallers",
    ),
    "a wider range of callers": (
        {"network": {"callers": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}},
        "allowedCallers",
    ),
    "every private address": (
        {"network": {"destinations": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}},
        "allowedDestinations",
    ),
    "a part of the destination": (
        {"network": {"destinations": [{"ipBlock": {"cidr": "10.20.1.0/24"}}]}},
        "allowedDestinations",
    ),
    "zero replicas": (
        {"autoscaling": {"minReplicas": 0, "maxReplicas": 2}},
        "forbidScaleToZero",
    ),
    "nine GPUs": ({"replicas": 3, "engine": {"tensorParallelSize": 4}}, "maxGpus"),
}


@pytest.mark.parametrize("spec", ALLOWED.values(), ids=ALLOWED)
def test_a_resource_within_the_limits_is_taken(guarded: Cluster, spec: Object) -> None:
    assert refusal(guarded, resource("small", spec)) == ""


@pytest.mark.parametrize(("spec", "message"), REFUSED.values(), ids=REFUSED)
def test_a_resource_beyond_the_limits_is_refused(
    guarded: Cluster, spec: Object, message: str
) -> None:
    assert message in refusal(guarded, resource("small", spec))


def test_scaling_is_limited_and_labels_are_not(guarded: Cluster, unserved: Namespace) -> None:
    unserved.apply(resource("small"))

    unserved.kubectl("label", "msd", "small", "team=ml")
    unserved.kubectl("scale", "msd", "small", "--replicas=4")
    with pytest.raises(CommandFailedError, match="replicas must be at most 4"):
        unserved.kubectl("scale", "msd", "small", "--replicas=5")


# --- What the operator writes ---------------------------------------------------------------------


def rendered(spec: Object, name: str = "small") -> list[Object]:
    """Return every child of a resource."""
    body = resource(name, spec)
    body["metadata"] |= {"namespace": "default", "uid": "u", "generation": 1}
    context = RenderContext(CONTEXT.server_image, pod_monitors=True, scaled_objects=True)
    owner = parse_resource(body)
    scales = owner.spec.autoscaling is not None
    route = ActivatorRoute(20_000, ("10.0.0.9",)) if scales else None
    prefetch = FETCHING if owner.spec.prefetches else None
    return list(children(owner, context, route, pulling=("gpu-0", "gpu-1"), prefetch=prefetch))


SPECS: Object = {
    **VARIANTS,
    "cached": {"cache": {}},
    "cached beyond its end": {"cache": {"whenDeleted": "Retain"}},
    "autoscaled": {"autoscaling": {"driver": "KEDA", "minReplicas": 0, "maxReplicas": 2}},
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_operator_may_create_its_children(guarded: Cluster, spec: Object) -> None:
    document = {"apiVersion": "v1", "kind": "List", "items": rendered(spec)}

    assert refusal(guarded, document, OPERATOR) == ""


def test_the_operator_may_change_and_delete_its_children(guarded: Cluster) -> None:
    # An owner that exists: the garbage collector deletes children of others within seconds.
    guarded.kubectl("apply", "-f", "-", text=json.dumps(resource("live", {"replicas": 0})))
    uid = guarded.kubectl("get", "msd", "live", "--output=jsonpath={.metadata.uid}")
    made = rendered({"replicas": 0, "cache": {"prefetch": "BeforePods"}}, "live")
    for child in made:
        for reference in child["metadata"]["ownerReferences"]:
            reference["uid"] = uid
    document = {"apiVersion": "v1", "kind": "List", "items": made}
    guarded.kubectl("apply", "-f", "-", text=json.dumps(document))

    for child in made:
        kind, name = child["kind"], child["metadata"]["name"]
        change = ("annotate", kind, name, "a=b", "--dry-run=server", f"--as={OPERATOR}")
        guarded.kubectl(*change)
        guarded.kubectl("delete", kind, name, "--dry-run=server", f"--as={OPERATOR}")


def child_of(kind: str, *path: Any) -> tuple[Object, Any]:
    """Return a child, and the part of it at a path."""
    scaled = {"driver": "KEDA", "minReplicas": 0, "maxReplicas": 2}
    prefetch = "BeforePods" if kind == "Job" else "Never"
    spec = {"cache": {"whenDeleted": "Retain", "prefetch": prefetch}, "autoscaling": scaled}
    # Of two NetworkPolicies, that of the replicas.
    body = next(one for one in rendered(spec) if one["kind"] == kind)
    body = deepcopy(body)
    part: Any = body
    for step in path:
        part = part[step]
    return body, part


POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)

CHANGES: dict[str, tuple[str, tuple[Any, ...], Object]] = {
    "no label of ours": ("Service", ("metadata",), {"labels": {}}),
    "no owner": ("Service", ("metadata",), {"ownerReferences": []}),
    "another account": ("Deployment", POD, {"serviceAccountName": "cluster-admin"}),
    "a Job with another command": ("Job", CONTAINER, {"args": ["run"]}),
    "a Job as another account": ("Job", POD, {"serviceAccountName": "cluster-admin"}),
    "a Job that is a replica": (
        "Job",
        ("spec", "template", "metadata", "labels"),
        {"inference.mistral-small.io/deployment": "child"},
    ),
    "a Job of another name": ("Job", ("metadata",), {"name": "victim"}),
    "a Job on the host's network": ("Job", POD, {"hostNetwork": True}),
    "a token": ("Deployment", POD, {"automountServiceAccountToken": True}),
    "the host's network": ("Deployment", POD, {"hostNetwork": True}),
    "the host's processes": ("Deployment", POD, {"hostPID": True}),
    "the host's memory": ("Deployment", POD, {"hostIPC": True}),
    "root": ("Deployment", (*POD, "securityContext"), {"runAsNonRoot": False}),
    "no seccomp": (
        "Deployment",
        (*POD, "securityContext"),
        {"seccompProfile": {"type": "Unconfined"}},
    ),
    "the host's files": (
        "Deployment",
        (*POD, "volumes", 0),
        {"emptyDir": None, "hostPath": {"path": "/"}},
    ),
    "a projected token": (
        "Deployment",
        (*POD, "volumes", 0),
        {
            "emptyDir": None,
            "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
        },
    ),
    "another command": ("Deployment", CONTAINER, {"command": ["sh"]}),
    "other arguments": ("Deployment", CONTAINER, {"args": ["-c", "id"]}),
    "another container": ("Deployment", CONTAINER, {"name": "miner"}),
    "privileged": (
        "Deployment",
        (*CONTAINER, "securityContext"),
        {"privileged": True, "allowPrivilegeEscalation": True},
    ),
    "capabilities": (
        "Deployment",
        (*CONTAINER, "securityContext"),
        {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}},
    ),
    "root in a container": (
        "Deployment",
        (*CONTAINER, "securityContext"),
        {"runAsUser": 0, "runAsNonRoot": False},
    ),
    "a node port": ("Service", ("spec",), {"type": "NodePort"}),
    "an external address": ("Service", ("spec",), {"externalIPs": ["192.0.2.1"]}),
    "another's pods": ("Service", ("spec",), {"selector": {"app": "victim"}}),
    "another's Service": (
        "EndpointSlice",
        ("metadata", "labels"),
        {"kubernetes.io/service-name": "kubernetes"},
    ),
    "a claim of another name": ("PersistentVolumeClaim", ("metadata",), {"name": "other"}),
    "another port": ("EndpointSlice", ("ports", 0), {"port": 6443}),
    "another port's name": ("EndpointSlice", ("ports", 0), {"name": "https"}),
    "an account with a token": (
        "ServiceAccount",
        (),
        {"automountServiceAccountToken": True},
    ),
    "a policy for all pods": ("NetworkPolicy", ("spec",), {"podSelector": {}}),
    "a policy for another's pods": (
        "NetworkPolicy",
        ("spec",),
        {"podSelector": {"matchLabels": {"app": "victim"}}},
    ),
    "a policy of another name": ("NetworkPolicy", ("metadata",), {"name": "victim"}),
    "a policy for every port": (
        "NetworkPolicy",
        ("spec", "ingress", 0),
        {"ports": [], "from": [{"namespaceSelector": {}}]},
    ),
    "a policy for another port": (
        "NetworkPolicy",
        ("spec", "ingress", 0),
        {"ports": [{"port": 22, "protocol": "TCP"}]},
    ),
    "a policy for a range of ports": (
        "NetworkPolicy",
        ("spec", "ingress", 0),
        {"ports": [{"port": 8000, "endPort": 65535, "protocol": "TCP"}]},
    ),
    "pods on nodes with another command": ("DaemonSet", CONTAINER, {"command": ["sh"]}),
    "pods on nodes with arguments": ("DaemonSet", CONTAINER, {"args": ["1"]}),
    "pods on nodes with variables": (
        "DaemonSet",
        CONTAINER,
        {"env": [{"name": "A", "value": "b"}]},
    ),
    "pods on nodes with another container": ("DaemonSet", CONTAINER, {"name": "server"}),
    "pods on nodes with privileges": (
        "DaemonSet",
        (*CONTAINER, "securityContext"),
        {"privileged": True, "allowPrivilegeEscalation": True},
    ),
    "pods on nodes in the host's network": ("DaemonSet", POD, {"hostNetwork": True}),
    "pods on nodes with another account": (
        "DaemonSet",
        POD,
        {"serviceAccountName": "cluster-admin"},
    ),
    "pods on nodes with the host's files": (
        "DaemonSet",
        POD,
        {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]},
    ),
    "pods on nodes with a Secret": (
        "DaemonSet",
        POD,
        {"volumes": [{"name": "victim", "secret": {"secretName": "victim"}}]},
    ),
    "pods on nodes that get requests": (
        "DaemonSet",
        ("spec", "template", "metadata", "labels"),
        {names.LABEL_DEPLOYMENT: "small"},
    ),
    "a DaemonSet of another name": ("DaemonSet", ("metadata",), {"name": "victim"}),
    "a budget for all pods": ("PodDisruptionBudget", ("spec",), {"selector": {}}),
    "a budget that blocks drains": ("PodDisruptionBudget", ("spec",), {"maxUnavailable": 0}),
    "a budget of all": (
        "PodDisruptionBudget",
        ("spec",),
        {"maxUnavailable": None, "minAvailable": "100%"},
    ),
    "a claim on a volume": ("PersistentVolumeClaim", ("spec",), {"volumeName": "victim"}),
    "a monitor of all pods": ("PodMonitor", ("spec",), {"selector": {}}),
    "a monitor of all namespaces": (
        "PodMonitor",
        ("spec",),
        {"namespaceSelector": {"any": True}},
    ),
    "a scaler of another's Deployment": (
        "ScaledObject",
        ("spec",),
        {"scaleTargetRef": {"name": "victim"}},
    ),
    "a scaler of another resource": (
        "ScaledObject",
        ("spec", "scaleTargetRef"),
        {"name": "victim"},
    ),
    "a scaler with credentials": (
        "ScaledObject",
        ("spec", "triggers", 0),
        {"authenticationRef": {"name": "victim", "kind": "ClusterTriggerAuthentication"}},
    ),
}


@pytest.mark.parametrize(("kind", "path", "change"), CHANGES.values(), ids=CHANGES)
def test_a_stolen_token_creates_nothing_else(
    guarded: Cluster, kind: str, path: tuple[Any, ...], change: Object
) -> None:
    body, part = child_of(kind, *path)
    assert refusal(guarded, body, OPERATOR) == "", "otherwise this shows nothing"
    part.update(change)

    assert "ValidatingAdmissionPolicy" in refusal(guarded, body, OPERATOR)


ROUTER_CHANGES: dict[str, tuple[str, str, tuple[Any, ...], Object]] = {
    "another account": ("Deployment", "router", POD, {"serviceAccountName": "cluster-admin"}),
    "another command": ("Deployment", "router", CONTAINER, {"command": ["sh"]}),
    "no command": ("Deployment", "router", CONTAINER, {"command": []}),
    "another container": ("Deployment", "router", CONTAINER, {"name": "server"}),
    "a file system to write": (
        *("Deployment", "router", (*CONTAINER, "securityContext")),
        {"readOnlyRootFilesystem": False},
    ),
    "the host's network": ("Deployment", "router", POD, {"hostNetwork": True}),
    "pods of others": ("Service", "replicas", ("spec",), {"selector": {"app": "database"}}),
    "pods of others as activators": (
        *("Service", "activator", ("spec",)),
        {"selector": {"app": "database"}},
    ),
    "a port of each node": ("Service", "activator", ("spec",), {"type": "NodePort"}),
    "another Service": (
        *("EndpointSlice", "router", ("metadata", "labels")),
        {"kubernetes.io/service-name": "kubernetes"},
    ),
    "all pods": ("NetworkPolicy", "router", ("spec",), {"podSelector": {}}),
    "no eviction": ("PodDisruptionBudget", "router", ("spec",), {"maxUnavailable": 0}),
}


@pytest.mark.parametrize(
    ("kind", "suffix", "path", "change"), ROUTER_CHANGES.values(), ids=ROUTER_CHANGES
)
def test_a_stolen_token_creates_nothing_else_for_a_router(
    guarded: Cluster, kind: str, suffix: str, path: tuple[Any, ...], change: Object
) -> None:
    spec = {"routing": {"policy": "Prefix"}, "autoscaling": {"minReplicas": 0, "maxReplicas": 2}}
    (body,) = [
        deepcopy(one)
        for one in rendered(spec)
        if (one["kind"], one["metadata"]["name"]) == (kind, f"small-{suffix}")
    ]
    assert refusal(guarded, body, OPERATOR) == "", "otherwise this shows nothing"
    part: Any = body
    for step in path:
        part = part[step]
    part.update(change)

    assert "ValidatingAdmissionPolicy" in refusal(guarded, body, OPERATOR)


def test_a_stolen_token_deletes_no_claim_with_a_volume(guarded: Cluster) -> None:
    (claim,) = [
        one
        for one in rendered({"cache": {"whenDeleted": "Retain"}}, "kept")
        if one["kind"] == "PersistentVolumeClaim"
    ]
    delete = ("delete", "pvc", claim["metadata"]["name"], "--dry-run=server", f"--as={OPERATOR}")
    guarded.kubectl("apply", "-f", "-", text=json.dumps(claim))
    guarded.kubectl(*delete)

    volume = {"spec": {"volumeName": "pvc-1"}}
    guarded.kubectl("patch", "pvc", claim["metadata"]["name"], f"--patch={json.dumps(volume)}")

    with pytest.raises(CommandFailedError, match="never bound"):
        guarded.kubectl(*delete)


def test_a_stolen_token_does_not_touch_objects_of_others(guarded: Cluster) -> None:
    guarded.kubectl("create", "service", "clusterip", "victim", "--tcp=80:80")
    (service,) = [one for one in rendered({}) if one["kind"] == "Service"]
    service = {**service, "metadata": {**service["metadata"], "name": "victim"}}

    assert "its own objects" in refusal(guarded, service, OPERATOR, "apply")
    with pytest.raises(CommandFailedError, match="its own objects"):
        guarded.kubectl("delete", "service", "victim", "--dry-run=server", f"--as={OPERATOR}")


def activator_policy_of(spec: Object | None = None, **metadata: Any) -> Object:
    """Return a policy of the activators' ports, with other metadata or another spec."""
    (of_chart,) = of_kind(render_activator(), "NetworkPolicy")
    of_chart["metadata"]["uid"] = "uid-of-chart"
    gateway = {"callers": [{"podSelector": {"matchLabels": {"app": "gateway"}}}]}
    few = callers_of(Network.model_validate(gateway), "team-a", NetworkDefaults())
    body = activator_policy(20_000, {20_000: EVERYONE, 20_001: few}, of_chart)
    return {
        **body,
        "metadata": {**body["metadata"], **metadata},
        "spec": {**body["spec"], **(spec or {})},
    }


def test_the_operator_may_open_ports_of_the_activators(guarded: Cluster) -> None:
    assert refusal(guarded, activator_policy_of(), OPERATOR) == ""
    assert refusal(guarded, activator_policy_of({"ingress": []}), OPERATOR) == ""


OTHER_POLICIES: dict[str, tuple[Object, Object]] = {
    "another name": ({}, {"name": "mistral-small-operator-activator-20001"}),
    "another namespace": ({}, {"namespace": "default"}),
    "all pods": ({"podSelector": {}}, {}),
    "other pods": ({"podSelector": {"matchLabels": {"app": "victim"}}}, {}),
    "egress": ({"policyTypes": ["Ingress", "Egress"]}, {}),
    "every port": ({"ingress": [{}]}, {}),
    "another port": ({"ingress": [{"ports": [{"port": 8080, "protocol": "TCP"}]}]}, {}),
    "a named port": ({"ingress": [{"ports": [{"port": "http", "protocol": "TCP"}]}]}, {}),
    "a range of ports": (
        {"ingress": [{"ports": [{"port": 20_000, "endPort": 65_535, "protocol": "TCP"}]}]},
        {},
    ),
}


@pytest.mark.parametrize(("spec", "metadata"), OTHER_POLICIES.values(), ids=OTHER_POLICIES)
def test_a_stolen_token_opens_nothing_else(
    guarded: Cluster, spec: Object, metadata: Object
) -> None:
    body = activator_policy_of(spec, **metadata)

    assert "ValidatingAdmissionPolicy" in refusal(guarded, body, OPERATOR)


def test_others_may_create_what_they_like(guarded: Cluster) -> None:
    body, part = child_of("Service", "spec")
    part["type"] = "NodePort"

    assert refusal(guarded, body) == ""
