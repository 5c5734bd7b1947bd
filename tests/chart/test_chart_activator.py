"""The activator's part of the chart: its settings, rights and selectors."""

from typing import Any

import pytest

from chart_rendering import (
    NAMESPACE,
    RELEASE,
    Object,
    of_kind,
    operator_pod,
    render,
    render_activator,
)
from mistral_operator.kube import names
from mistral_operator.kube.names import HTTP_PORT, LABEL_MANAGED_BY, MANAGED_BY
from mistral_operator.process.settings import ActivatorSettings

NAME = f"{RELEASE}-activator"
SLICES = {
    "apiGroups": ["discovery.k8s.io"],
    "resources": ["endpointslices"],
    "verbs": ["list", "watch"],
}
MAPS = {
    "apiGroups": [""],
    "resources": ["configmaps"],
    "resourceNames": [names.PORT_MAP, names.KEY_MAP],
    "verbs": ["get"],
}
EVERYTHING = {
    "activator": {"replicas": 2},
    "networkPolicy": {"enabled": True},
    "metrics": {"podMonitor": {"enabled": True}},
}


def pod(values: dict[str, Any] | None = None) -> Object:
    """Return the pod template of the activator."""
    (deployment,) = of_kind(render_activator(values), "Deployment")
    template: Object = deployment["spec"]["template"]
    return template


def settings(monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]) -> ActivatorSettings:
    """Return the settings of an activator that was installed with some values."""
    for variable in pod(values)["spec"]["containers"][0]["env"]:
        monkeypatch.setenv(variable["name"], variable.get("value", NAMESPACE))
    return ActivatorSettings()


@pytest.mark.parametrize(
    ("values", "name", "value"),
    [
        ({"watchNamespaces": ["b", "a", "b"]}, "namespaces", ("b", "a")),
        ({"activator": {"drainSeconds": 45}}, "drain_seconds", 45.0),
        ({}, "namespace", NAMESPACE),
        ({"activator": {"connections": 300}}, "connections", 300),
        ({"activator": {"requestMemoryMiB": 50}}, "request_memory_mib", 50),
        ({}, "limit_callers", True),
        ({"networkPolicy": {"enabled": False}}, "limit_callers", False),
        ({"resyncSeconds": 1_000_000}, "resync_seconds", 1_000_000.0),
        ({"log": {"level": "DEBUG"}}, "log_level", "DEBUG"),
        ({"log": {"format": "json"}}, "log_format", "json"),
    ],
)
def test_a_value_reaches_the_activators_settings(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], name: str, value: object
) -> None:
    assert getattr(settings(monkeypatch, values), name) == value


def test_it_is_killed_no_sooner_than_it_has_drained(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"activator": {"drainSeconds": 45}}
    parsed = settings(monkeypatch, values)

    assert (
        pod(values)["spec"]["terminationGracePeriodSeconds"]
        > parsed.notice_seconds + parsed.drain_seconds
    )


def test_no_environment_variable_is_misspelt() -> None:
    prefix = ActivatorSettings.model_config["env_prefix"]
    variables = {f"{prefix}{name.upper()}" for name in ActivatorSettings.model_fields}

    assert {one["name"] for one in pod()["spec"]["containers"][0]["env"]} <= variables


@pytest.mark.parametrize(
    ("namespaces", "kind", "where"),
    [([], "ClusterRole", [None]), (["team-a", "team-b"], "Role", ["team-a", "team-b"])],
    ids=["cluster", "namespaces"],
)
def test_it_may_look_at_slices_and_two_maps_and_nothing_else(
    namespaces: list[str], kind: str, where: list[str | None]
) -> None:
    rendered = render_activator({"watchNamespaces": namespaces})
    *roles, ports = (one for one in rendered if one["kind"] in {"Role", "ClusterRole"})
    bindings = [
        one
        for one in of_kind(rendered, f"{kind}Binding")
        if one["roleRef"]["name"] != ports["metadata"]["name"]
    ]

    assert ports["metadata"]["namespace"] == NAMESPACE
    assert ports["rules"] == [MAPS]
    assert [one["kind"] for one in roles] == [kind] * len(where)
    assert [one["metadata"].get("namespace") for one in roles] == where
    assert all(one["rules"] == [SLICES] for one in roles)
    assert [one["metadata"].get("namespace") for one in bindings] == where
    for binding in bindings:
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (kind, NAME)
        subject = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
        assert binding["subjects"] == [subject]
    assert pod()["spec"]["serviceAccountName"] == NAME


@pytest.mark.parametrize(
    "kind", ["Service", "Deployment", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor"]
)
def test_every_selector_selects_its_own_pods_and_not_the_others(kind: str) -> None:
    labels = [one["metadata"]["labels"].items() for one in (operator_pod(), pod())]
    values = {**EVERYTHING, "replicas": 2}
    for rendered, mine, others in (
        (render(values), *labels),
        (render_activator(values), *reversed(labels)),
    ):
        (one,) = of_kind(rendered, kind)
        selector = one["spec"].get("podSelector") or one["spec"]["selector"]
        selected = selector.get("matchLabels", selector).items()
        assert selected <= mine
        assert not selected <= others


def test_the_operator_finds_it_by_a_service_that_names_its_port() -> None:
    (service,) = of_kind(render_activator(), "Service")
    port = pod()["spec"]["containers"][0]["ports"][0]

    assert service["spec"]["clusterIP"] == "None"
    assert (port["name"], port["containerPort"]) == ("http", 8080)
    assert service["spec"]["ports"][0]["targetPort"] == "http"


def test_the_network_policy_leaves_the_ports_of_endpoints_to_the_operator() -> None:
    values = {"networkPolicy": {"enabled": True, "apiServerPorts": [16443]}}
    (policy,) = of_kind(render_activator(values), "NetworkPolicy")
    (own,) = policy["spec"]["ingress"]
    (admin,) = own["ports"]
    _, api_server, endpoints = policy["spec"]["egress"]

    assert admin["port"] == 8080
    assert [one["port"] for one in api_server["ports"]] == [16443]
    assert [one["port"] for one in endpoints["ports"]] == [HTTP_PORT]
    assert endpoints["to"][0]["podSelector"] == {"matchLabels": {LABEL_MANAGED_BY: MANAGED_BY}}


def test_only_pods_whose_ports_the_operator_opens_are_closed() -> None:
    """Those of a chart before that serve until the others are ready."""
    (policy,) = of_kind(render_activator(), "NetworkPolicy")
    selected = policy["spec"]["podSelector"]["matchLabels"]
    (deployment,) = of_kind(render_activator(), "Deployment")
    off = pod({"networkPolicy": {"enabled": False}})["metadata"]["labels"]

    assert selected[names.CALLERS] == names.LIMITED
    assert selected.items() <= pod()["metadata"]["labels"].items()
    assert names.CALLERS not in deployment["spec"]["selector"]["matchLabels"], "it is immutable"
    assert names.CALLERS not in off


def test_named_callers_of_its_metrics_leave_the_operator_alone() -> None:
    monitoring = {"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}
    (policy,) = of_kind(
        render_activator({"networkPolicy": {"from": [monitoring]}}), "NetworkPolicy"
    )
    (own,) = policy["spec"]["ingress"]
    operator, callers = own["from"]

    selected = operator["podSelector"]["matchLabels"]
    assert selected.items() <= operator_pod()["metadata"]["labels"].items()
    assert callers == monitoring


def test_probes_have_a_port_that_the_network_policy_closes_to_pods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    container = pod()["spec"]["containers"][0]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    (policy,) = of_kind(render_activator({"networkPolicy": {"enabled": True}}), "NetworkPolicy")

    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == "probes"
    assert settings(monkeypatch, {}).probe_port == ports["probes"]
    opened = [one["port"] for rule in policy["spec"]["ingress"] for one in rule["ports"]]
    assert opened
    assert ports["probes"] not in opened


def test_it_is_as_confined_as_the_operator() -> None:
    for section in ("securityContext",):
        assert pod()["spec"][section] == operator_pod()["spec"][section]
    own, operators = (one["spec"]["containers"][0] for one in (pod(), operator_pod()))
    for section in ("image", "securityContext", "volumeMounts"):
        assert own[section] == operators[section]


def test_nothing_of_it_is_there_when_it_is_disabled() -> None:
    values = {**EVERYTHING, "activator": {"enabled": False}}

    assert render_activator(values) == []
