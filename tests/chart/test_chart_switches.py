"""One case for each switch of the chart: what it changes in what is rendered."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from chart_rendering import (
    CHART,
    RELEASE,
    HelmRefused,
    Object,
    helm,
    of_kind,
    operator_container,
    operator_pod,
    render,
    render_all,
)
from mistral_operator.kube.names import HEALTH_PORT, LABEL_MANAGED_BY, MANAGED_BY

Values = dict[str, Any]

DEFAULT_KINDS = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "Deployment",
    "NetworkPolicy",
    "Role",
    "RoleBinding",
    "Service",
    "ServiceAccount",
}

POLICIES = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}

KINDS: dict[str, tuple[Values, set[str], set[str]]] = {
    "nothing is set": ({}, set(), set()),
    "no CRD": ({"crds": {"enabled": False}}, set(), {"CustomResourceDefinition"}),
    "no ServiceAccount": ({"serviceAccount": {"create": False}}, set(), {"ServiceAccount"}),
    "no Service": ({"metrics": {"service": {"enabled": False}}}, set(), {"Service"}),
    "PodMonitor": ({"metrics": {"podMonitor": {"enabled": True}}}, {"PodMonitor"}, set()),
    "ServiceMonitor": (
        {"metrics": {"serviceMonitor": {"enabled": True}}},
        {"ServiceMonitor"},
        set(),
    ),
    "rules": ({"prometheusRule": {"enabled": True}}, {"PrometheusRule"}, set()),
    "dashboard": ({"dashboard": {"enabled": True}}, {"ConfigMap"}, set()),
    "two replicas": ({"replicas": 2}, {"PodDisruptionBudget"}, set()),
    "two replicas without budget": (
        {"replicas": 2, "podDisruptionBudget": {"enabled": False}},
        set(),
        set(),
    ),
    "no NetworkPolicy": ({"networkPolicy": {"enabled": False}}, set(), {"NetworkPolicy"}),
    "limits on resources": (
        {"admission": {"resources": {"enabled": True, "requireDigests": True}}},
        POLICIES,
        set(),
    ),
    "limits on the operator": ({"admission": {"operator": {"enabled": True}}}, POLICIES, set()),
    "no Lease, no right on it": (
        {"leaderElection": {"enabled": False}, "activator": {"enabled": False}},
        set(),
        {"Role", "RoleBinding"},
    ),
    "no rights at all": (
        {"rbac": {"create": False, "aggregateToUserRoles": False}},
        set(),
        {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"},
    ),
}


@pytest.mark.parametrize(("values", "more", "fewer"), KINDS.values(), ids=KINDS)
def test_a_switch_adds_or_removes_its_kinds_and_no_other(
    values: Values, more: set[str], fewer: set[str]
) -> None:
    assert {one["kind"] for one in render(values)} == (DEFAULT_KINDS | more) - fewer


SHA = f"sha256:{'0' * 64}"
SPREAD = {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
TOLERATION = {"key": "infra", "operator": "Exists"}
AFFINITY: Values = {"nodeAffinity": {}}

POD: dict[str, tuple[Values, Callable[[Object], object], object]] = {
    "imagePullSecrets by name": (
        {"imagePullSecrets": ["pull", {"name": "other"}]},
        lambda pod: pod["spec"]["imagePullSecrets"],
        [{"name": "pull"}, {"name": "other"}],
    ),
    "imagePullSecrets": (
        {"imagePullSecrets": [{"name": "pull"}]},
        lambda pod: pod["spec"]["imagePullSecrets"],
        [{"name": "pull"}],
    ),
    "nodeSelector": (
        {"nodeSelector": {"pool": "infra"}},
        lambda pod: pod["spec"]["nodeSelector"],
        {"pool": "infra"},
    ),
    "tolerations": (
        {"tolerations": [TOLERATION]},
        lambda pod: pod["spec"]["tolerations"],
        [TOLERATION],
    ),
    "affinity": ({"affinity": AFFINITY}, lambda pod: pod["spec"]["affinity"], AFFINITY),
    "priorityClassName": (
        {"priorityClassName": "system-cluster-critical"},
        lambda pod: pod["spec"]["priorityClassName"],
        "system-cluster-critical",
    ),
    "topologySpreadConstraints": (
        {"topologySpreadConstraints": [SPREAD]},
        lambda pod: [
            {key: value for key, value in one.items() if key in SPREAD}
            for one in pod["spec"]["topologySpreadConstraints"]
        ],
        [SPREAD],
    ),
    "no topologySpreadConstraints": (
        {"topologySpreadConstraints": []},
        lambda pod: "topologySpreadConstraints" in pod["spec"],
        False,
    ),
    "podAnnotations": (
        {"podAnnotations": {"example.com/team": "ml"}},
        lambda pod: pod["metadata"]["annotations"]["example.com/team"],
        "ml",
    ),
    "podLabels": (
        {"podLabels": {"team": "ml"}},
        lambda pod: pod["metadata"]["labels"]["team"],
        "ml",
    ),
    "podLabels that select": (
        {"podLabels": {"app.kubernetes.io/name": "mine"}},
        lambda pod: pod["metadata"]["labels"]["app.kubernetes.io/name"],
        "mistral-small-operator",
    ),
    "podSecurityContext of the platform": (
        {"podSecurityContext": {"runAsUser": None, "runAsGroup": None}},
        lambda pod: pod["spec"]["securityContext"],
        {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    ),
    "serviceAccount.name": (
        {"serviceAccount": {"create": False, "name": "theirs"}},
        lambda pod: pod["spec"]["serviceAccountName"],
        "theirs",
    ),
    "no serviceAccount": (
        {"serviceAccount": {"create": False}},
        lambda pod: pod["spec"]["serviceAccountName"],
        "default",
    ),
}


@pytest.mark.parametrize(("values", "look", "want"), POD.values(), ids=POD)
def test_a_value_reaches_the_pod(
    values: Values, look: Callable[[Object], object], want: object
) -> None:
    assert look(operator_pod(values)) == want


CONTAINER: dict[str, tuple[Values, str, object]] = {
    "repository": ({"image": {"repository": "r/op"}}, "image", "r/op:0.1.0"),
    "tag": (
        {"image": {"tag": "9"}},
        "image",
        "ghcr.io/mistral-small-operator/operator:9",
    ),
    "digest": (
        {"image": {"tag": "9", "digest": SHA}},
        "image",
        f"ghcr.io/mistral-small-operator/operator@{SHA}",
    ),
    "registry": (
        {"global": {"imageRegistry": "registry.example.com:5000"}},
        "image",
        "registry.example.com:5000/mistral-small-operator/operator:0.1.0",
    ),
    "pullPolicy": ({"image": {"pullPolicy": "Always"}}, "imagePullPolicy", "Always"),
    "resources": (
        {"resources": {"requests": {"cpu": "1", "memory": None}, "limits": None}},
        "resources",
        {"requests": {"cpu": "1"}},
    ),
    "securityContext": (
        {"securityContext": {"readOnlyRootFilesystem": False}},
        "securityContext",
        {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": False,
            "capabilities": {"drop": ["ALL"]},
        },
    ),
}


@pytest.mark.parametrize(("values", "field", "want"), CONTAINER.values(), ids=CONTAINER)
def test_a_value_reaches_the_container(values: Values, field: str, want: object) -> None:
    assert operator_container(values)[field] == want


def test_a_variable_is_added_to_those_of_the_operator() -> None:
    proxy = {"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}
    before = operator_container({})["env"]

    assert operator_container({"extraEnv": [proxy]})["env"] == [*before, proxy]


def test_a_common_label_is_on_every_object_and_in_no_selector() -> None:
    label = {"cost-center": "7"}
    for one in render_all({"commonLabels": label}):
        if one["kind"] != "CustomResourceDefinition":
            assert label.items() <= one["metadata"]["labels"].items(), one["kind"]
        assert "cost-center" not in str(one.get("spec", {}).get("selector"))


def test_an_upgrade_never_runs_two_operators_without_a_lease() -> None:
    (with_lease,) = of_kind(render(), "Deployment")
    (without,) = of_kind(render({"leaderElection": {"enabled": False}}), "Deployment")

    assert with_lease["spec"]["strategy"]["type"] == "RollingUpdate"
    assert without["spec"]["strategy"] == {"type": "Recreate"}


def test_a_crd_that_is_not_kept_goes_with_the_release() -> None:
    (crd,) = of_kind(render({"crds": {"keep": False}}), "CustomResourceDefinition")

    assert "annotations" not in crd["metadata"]


@pytest.mark.parametrize(
    ("kind", "switch", "endpoints"),
    [
        ("PodMonitor", "podMonitor", "podMetricsEndpoints"),
        ("ServiceMonitor", "serviceMonitor", "endpoints"),
    ],
)
def test_a_monitor_scrapes_the_operator(kind: str, switch: str, endpoints: str) -> None:
    values = {switch: {"enabled": True, "interval": "5s", "labels": {"release": "prometheus"}}}
    rendered = render({"metrics": values})
    (monitor,) = of_kind(rendered, kind)
    (service,) = of_kind(rendered, "Service")
    pod = operator_pod({"metrics": values})
    scraped = pod["metadata"] if kind == "PodMonitor" else service["metadata"]
    (port,) = pod["spec"]["containers"][0]["ports"]

    # A resource's namespace and name, not the operator's own, are what its series speak of.
    assert monitor["spec"][endpoints] == [
        {"port": "http", "path": "/metrics", "interval": "5s", "honorLabels": True}
    ]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= scraped["labels"].items()
    assert (port["name"], service["spec"]["ports"][0]["name"]) == ("http", "http")


@pytest.mark.parametrize("kind", ["Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment"])
def test_every_selector_selects_the_operators_pods(kind: str) -> None:
    values = {"replicas": 2, "networkPolicy": {"enabled": True}}
    (one,) = of_kind(render(values), kind)
    selector = one["spec"].get("podSelector") or one["spec"]["selector"]
    selected = selector.get("matchLabels", selector)

    assert selected
    assert selected.items() <= operator_pod(values)["metadata"]["labels"].items()


def test_the_network_policy_lets_out_what_the_operator_requests() -> None:
    ports = {"enabled": True, "apiServerPorts": [16443]}
    (policy,) = of_kind(render({"networkPolicy": ports}), "NetworkPolicy")
    dns, api_server, pods, activator = policy["spec"]["egress"]

    assert {(one["port"], one["protocol"]) for one in dns["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert [one["port"] for one in api_server["ports"]] == [16443]
    assert [one["port"] for one in pods["ports"]] == [HEALTH_PORT]
    assert pods["to"] == [
        {
            "namespaceSelector": {},
            "podSelector": {"matchLabels": {LABEL_MANAGED_BY: MANAGED_BY}},
        }
    ]
    assert [one["port"] for one in activator["ports"]] == [8080]


def test_metrics_are_for_everyone_unless_callers_are_named() -> None:
    monitoring = {"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}
    (open_one,) = of_kind(render(), "NetworkPolicy")
    (named,) = of_kind(render({"networkPolicy": {"from": [monitoring]}}), "NetworkPolicy")

    assert ["from" in one for one in open_one["spec"]["ingress"]] == [False]
    assert [one["from"] for one in named["spec"]["ingress"]] == [[monitoring]]


def test_long_names_leave_room_for_their_suffixes() -> None:
    rendered = render_all({"fullnameOverride": "x" * 70, "nameOverride": "y" * 70})

    assert max(len(one["metadata"]["name"]) for one in of_kind(rendered, "Service")) <= 63
    names = sorted(len(one["metadata"]["name"]) for one in of_kind(rendered, "Deployment"))
    assert names == [53, 63]
    values = [value for one in rendered for value in one["metadata"].get("labels", {}).values()]
    assert max(map(len, values)) <= 63


GATEWAY = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateway"}}}

CONTRADICTIONS: dict[str, tuple[Values, str]] = {
    "callers of endpoints that everyone may call": (
        {"endpoints": {"callers": [GATEWAY]}},
        "Set endpoints.isolate to true, or remove endpoints.callers",
    ),
    "isolation that a label passes": (
        {"endpoints": {"isolate": True}},
        "Set it to the namespace of Prometheus, or to mistral-system if there is none",
    ),
    "a limit without a policy": (
        {"admission": {"resources": {"maxGpus": 16}}},
        "admission.resources.maxGpus limits nothing.*Set admission.resources.enabled to true",
    ),
    "a policy without a limit": (
        {"admission": {"resources": {"enabled": True}}},
        "allows everything. Set a limit",
    ),
    "limits on a policy that may be turned off": (
        {"admission": {"resources": {"enabled": True, "allowedDestinations": []}}},
        "Set admission.resources.requireNetworkPolicy to true",
    ),
    "limits on callers of endpoints that everyone may call": (
        {
            "admission": {
                "resources": {
                    "enabled": True,
                    "requireNetworkPolicy": True,
                    "allowedCallers": [],
                }
            }
        },
        "Set endpoints.isolate to true",
    ),
    "more requests than the activator has memory": (
        {"activator": {"requestMemoryMiB": 97}},
        "set activator.resources.limits.memory to 257Mi or more",
    ),
    "more requests than memory in bytes": (
        {
            "activator": {
                "requestMemoryMiB": 500,
                "resources": {"limits": {"memory": 512 * 1024**2}},
            }
        },
        "set activator.resources.limits.memory to 660Mi or more",
    ),
    "a common label of the chart": (
        {"commonLabels": {"app.kubernetes.io/name": "mine"}},
        "commonLabels cannot set app.kubernetes.io/name, which the chart sets",
    ),
    "two replicas without Lease": (
        {"replicas": 2, "leaderElection": {"enabled": False}},
        "Set leaderElection.enabled to true, or replicas to 1",
    ),
    "both monitors": (
        {"metrics": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}},
        "Set one of them to false",
    ),
    "ServiceMonitor without Service": (
        {"metrics": {"service": {"enabled": False}, "serviceMonitor": {"enabled": True}}},
        "set metrics.service.enabled to true",
    ),
}


@pytest.mark.parametrize(("values", "advice"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_values_that_contradict_each_other_are_refused_with_advice(
    values: Values, advice: str
) -> None:
    with pytest.raises(HelmRefused, match=advice):
        render(values)


ENOUGH: dict[str, Values] = {
    "the limit": {"requestMemoryMiB": 96},
    "in GiB": {"requestMemoryMiB": 864, "resources": {"limits": {"memory": "1Gi"}}},
    "in bytes": {"requestMemoryMiB": 96, "resources": {"limits": {"memory": 256 * 1024**2}}},
    "no limit": {"requestMemoryMiB": 500, "resources": {"limits": {"memory": None}}},
    "no resources": {"requestMemoryMiB": 500, "resources": None},
    "no activator": {"requestMemoryMiB": 500, "enabled": False},
}


@pytest.mark.parametrize("activator", ENOUGH.values(), ids=ENOUGH)
def test_an_activator_with_enough_memory_is_taken(activator: Values) -> None:
    assert render({"activator": activator})


@pytest.mark.parametrize("policy", ["operator", "resources"])
def test_admission_policies_are_refused_where_kubernetes_has_none(policy: str) -> None:
    limits = {"enabled": True, **({"maxGpus": 1} if policy == "resources" else {})}
    values = json.dumps({"admission": {policy: limits}})

    with pytest.raises(HelmRefused, match=r"requires Kubernetes 1.30 or newer; this is v1.29.4"):
        helm(
            *("template", RELEASE, str(CHART), "--kube-version", "1.29.4", "--values", "-"),
            text=values,
        )


@pytest.mark.parametrize("aggregate", [True, False])
def test_users_have_roles_to_bind_whether_or_not_they_are_aggregated(aggregate: bool) -> None:
    rendered = render({"rbac": {"aggregateToUserRoles": aggregate}})
    roles = {one["metadata"]["name"]: one for one in of_kind(rendered, "ClusterRole")}

    for name in (f"{RELEASE}-view", f"{RELEASE}-edit"):
        labels = roles[name]["metadata"]["labels"]
        assert any("aggregate-to" in label for label in labels) is aggregate
