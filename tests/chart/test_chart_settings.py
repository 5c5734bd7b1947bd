"""The environment that the chart renders is what the operator's Settings read."""

from typing import Any

import pytest

from chart_rendering import NAMESPACE, operator_container
from mistral_operator.api.logs import Logs
from mistral_operator.api.network import Peer
from mistral_operator.api.pod import PodDefaults
from mistral_operator.process.settings import Settings

PREFIX = Settings.model_config["env_prefix"]


def settings(monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]) -> Settings:
    """Return the settings of an operator that was installed with some values."""
    downward = {"metadata.namespace": NAMESPACE, "metadata.name": "operator-5d4f8-x2x4q"}
    for variable in operator_container(values)["env"]:
        if "value" in variable:
            value = variable["value"]
        else:
            value = downward[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        monkeypatch.setenv(variable["name"], value)
    return Settings()


def test_the_chart_sets_every_setting_and_nothing_else() -> None:
    rendered = [variable["name"] for variable in operator_container()["env"]]

    assert sorted(rendered) == sorted(f"{PREFIX}{name.upper()}" for name in Settings.model_fields)


def test_the_charts_defaults_are_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    of_chart = settings(monkeypatch, {})
    monkeypatch.undo()
    differing = {
        name
        for name in Settings.model_fields
        if getattr(of_chart, name) != Settings.model_fields[name].default
    }

    # Where the operator runs.
    assert differing == {
        *("namespace", "identity", "url"),
        *("activator_service", "activator_network_policy"),
    }


ISOLATED = {"isolate": True, "monitoringNamespace": "metrics"}

CASES: dict[str, tuple[dict[str, Any], str, object]] = {
    "server image": (
        {"server": {"image": {"repository": "example.com/server", "tag": "7"}}},
        "server_image",
        "example.com/server:7",
    ),
    "router image": (
        {"router": {"image": {"repository": "example.com/envoy", "tag": "7"}}},
        "router_image",
        "example.com/envoy:7",
    ),
    "server image by digest": (
        {"server": {"image": {"repository": "s", "digest": f"sha256:{'a' * 64}"}}},
        "server_image",
        f"s@sha256:{'a' * 64}",
    ),
    "namespaces": ({"watchNamespaces": ["b", "a", "b"]}, "namespaces", ("b", "a")),
    "namespace": ({}, "namespace", NAMESPACE),
    "identity": ({}, "identity", "operator-5d4f8-x2x4q"),
    "isolated endpoints": ({"endpoints": ISOLATED}, "isolate_endpoints", True),
    "callers of endpoints": (
        {"endpoints": {**ISOLATED, "callers": [{"namespaceSelector": {}}]}},
        "endpoint_callers",
        (Peer.model_validate({"namespaceSelector": {}}),),
    ),
    "destinations of endpoints": (
        {"endpoints": {"destinations": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}},
        "endpoint_destinations",
        (Peer.model_validate({"ipBlock": {"cidr": "10.0.0.0/8"}}),),
    ),
    "monitoring namespace": (
        {"endpoints": {"monitoringNamespace": "metrics"}},
        *("monitoring_namespace", "metrics"),
    ),
    "url": (
        {"fullnameOverride": "scaler"},
        *("url", f"http://scaler-metrics.{NAMESPACE}.svc:8080"),
    ),
    "activator": ({"fullnameOverride": "msd"}, "activator_service", "msd-activator"),
    "policy of the activator": (
        {"fullnameOverride": "msd"},
        *("activator_network_policy", "msd-activator"),
    ),
    "no policies": ({"networkPolicy": {"enabled": False}}, "activator_network_policy", ""),
    "no pods for policies": ({"activator": {"enabled": False}}, "activator_network_policy", ""),
    "ports": (
        {"activator": {"portsPerNamespace": 7}},
        *("activator_ports_per_namespace", 7),
    ),
    "no activator": ({"activator": {"enabled": False}}, "activator_service", ""),
    "no election": ({"leaderElection": {"enabled": False}}, "leader_election", False),
    "lease": ({"leaderElection": {"leaseSeconds": 30}}, "lease_seconds", 30),
    "concurrency": ({"concurrency": 50}, "concurrency", 50),
    "resync": ({"resyncSeconds": 1_000_000}, "resync_seconds", 1_000_000.0),
    "signals": ({"signalSeconds": 0.5}, "signal_seconds", 0.5),
    "autoscaling": ({"autoscalingSeconds": 5}, "autoscaling_seconds", 5.0),
    "hubs": (
        {"allowedHubEndpoints": ["https://a.example", "https://b.example/hub"]},
        "allowed_hub_endpoints",
        ("https://a.example", "https://b.example/hub"),
    ),
    "Prometheus servers": (
        {"allowedPrometheusUrls": ["http://prometheus.monitoring.svc:9090"]},
        "allowed_prometheus_urls",
        ("http://prometheus.monitoring.svc:9090",),
    ),
    "ServiceAccounts": (
        {"allowedServiceAccounts": ["gpu-users"]},
        *("allowed_service_accounts", ("gpu-users",)),
    ),
    "types of Services": (
        {"allowedServiceTypes": ["LoadBalancer"]},
        *("allowed_service_types", ("LoadBalancer",)),
    ),
    "variables": (
        {"allowedVariables": ["TEAM", "STAGE"]},
        *("allowed_variables", ("TEAM", "STAGE")),
    ),
    "pods of endpoints": (
        {
            "endpoints": {
                "pod": {
                    "env": [{"name": "NO_PROXY", "value": ".svc,.cluster.local"}],
                    "securityContext": {},
                }
            }
        },
        "endpoint_pods",
        PodDefaults.model_validate(
            {"env": [{"name": "NO_PROXY", "value": ".svc,.cluster.local"}], "securityContext": {}}
        ),
    ),
    "logs of endpoints": (
        {"endpoints": {"logs": {"requests": False, "format": "JSON"}}},
        *("endpoint_logs", Logs(requests=False, format="JSON")),
    ),
    "no format of logs": (
        {},
        *("endpoint_logs", Logs(requests=True)),
    ),
    "labels of PodMonitors": (
        {"endpoints": {"podMonitorLabels": {"release": "kube-prometheus-stack"}}},
        *("pod_monitor_labels", {"release": "kube-prometheus-stack"}),
    ),
    "server image of another registry": (
        {"global": {"imageRegistry": "registry.example.com"}},
        "server_image",
        "registry.example.com/mistral-small-operator/server:0.1.0",
    ),
    "server image that names its registry": (
        {
            "global": {"imageRegistry": "registry.example.com"},
            "server": {"image": {"repository": "quay.io/mine/server"}},
        },
        *("server_image", "quay.io/mine/server:0.1.0"),
    ),
    "level in lower case": ({"log": {"level": "debug"}}, "log_level", "DEBUG"),
    "level": ({"log": {"level": "DEBUG"}}, "log_level", "DEBUG"),
    "level in small letters": ({"log": {"level": "debug"}}, "log_level", "DEBUG"),
    "format": ({"log": {"format": "json"}}, "log_format", "json"),
}


@pytest.mark.parametrize(("values", "name", "want"), CASES.values(), ids=CASES)
def test_a_value_reaches_the_operators_settings(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], name: str, want: object
) -> None:
    assert getattr(settings(monkeypatch, values), name) == want


def test_the_port_is_the_one_that_is_exposed_and_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    container = operator_container()
    probes = {
        probe: (container[probe]["httpGet"]["path"], container[probe]["httpGet"]["port"])
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }

    assert [one["containerPort"] for one in container["ports"]] == [settings(monkeypatch, {}).port]
    assert probes == {
        "startupProbe": ("/healthz", "http"),
        "livenessProbe": ("/healthz", "http"),
        "readinessProbe": ("/readyz", "http"),
    }
