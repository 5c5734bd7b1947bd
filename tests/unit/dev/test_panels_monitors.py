"""Prometheus of a recording scrapes what PodMonitors select, with the labels they give."""

import re
from typing import Any

import pytest

from builders import CONTEXT, NAME, NAMESPACE, resource
from mistral_dev.panels.monitors import configuration, pod_targets
from mistral_operator.kube import names
from mistral_operator.render.monitor import pod_monitor

Object = dict[str, Any]


def pod(name: str, phase: str = "Running", **labels: str) -> Object:
    """Return a pod of the endpoint, as the API server returns it."""
    ports = [
        {"name": names.PORT_HTTP, "containerPort": 8000},
        {"name": names.PORT_HEALTH, "containerPort": 8001},
        {"name": "other", "containerPort": 9},
    ]
    return {
        "metadata": {
            "namespace": NAMESPACE,
            "name": name,
            "labels": {**names.selector(NAME), **labels},
        },
        "spec": {"containers": [{"name": "server", "ports": ports}]},
        "status": {"phase": phase, "podIP": "10.77.1.7"},
    }


def jobs(**changes: object) -> list[Object]:
    """Return the jobs of the endpoint's PodMonitor."""
    monitor = {**pod_monitor(resource(), CONTEXT), **changes}
    rendered = configuration([monitor], rules="rules.yaml", targets="pods.json", interval="10s")
    result: list[Object] = rendered["scrape_configs"]
    return result


def relabeled(target: Object, job: Object) -> dict[str, str] | None:
    """Return the labels of a target after the relabelings of a job, or None if it is dropped."""
    labels: dict[str, str] = dict(target["labels"])
    for rule in job["relabel_configs"]:
        value = ";".join(labels.get(name, "") for name in rule.get("source_labels", ()))
        matches = re.fullmatch(rule.get("regex", "(.*)"), value) is not None
        match rule.get("action", "replace"):
            case "keep" if not matches:
                return None
            case "drop" if matches:
                return None
            case "replace":
                labels[rule["target_label"]] = rule.get("replacement", value)
    return {name: value for name, value in labels.items() if not name.startswith("__")}


def scraped(*pods: Object) -> dict[str, dict[str, str]]:
    """Return the labels of each scraped address."""
    return {
        target["targets"][0]: labels
        for job in jobs()
        for target in pod_targets(pods)
        if (labels := relabeled(target, job)) is not None
    }


def test_both_ports_of_a_pod_are_scraped_with_the_labels_of_the_prometheus_operator() -> None:
    common = {
        "namespace": NAMESPACE,
        "name": NAME,
        "pod": "small-1",
        "container": "server",
        "job": f"{NAMESPACE}/{NAME}",
    }

    assert scraped(pod("small-1")) == {
        "10.77.1.7:8000": {**common, "endpoint": "http"},
        "10.77.1.7:8001": {**common, "endpoint": "health"},
    }


@pytest.mark.parametrize(
    "other",
    [
        pod("small-1", phase="Succeeded"),
        pod("small-1", **{names.LABEL_DEPLOYMENT: "another"}),
        {**pod("small-1"), "status": {"phase": "Pending"}},
    ],
    ids=["a pod that has ended", "a pod of another endpoint", "a pod without address"],
)
def test_nothing_else_is_scraped(other: Object) -> None:
    assert scraped(other) == {}


def test_a_pod_of_another_namespace_is_not_scraped() -> None:
    foreign = pod("small-1")
    foreign["metadata"]["namespace"] = "elsewhere"

    assert scraped(foreign) == {}


def test_limits_and_interval_of_a_monitor_are_those_of_the_scrape() -> None:
    spec = pod_monitor(resource(), CONTEXT)["spec"]
    endpoints = [{"port": "http", "interval": "7s", "honorLabels": True}]
    (job,) = jobs(spec={**spec, "podMetricsEndpoints": endpoints})

    assert job["sample_limit"] == spec["sampleLimit"]
    assert job["label_limit"] == spec["labelLimit"]
    assert job["scrape_interval"] == "7s"
    assert job["honor_labels"] is True
