"""PodMonitors as configuration of Prometheus, as the Prometheus operator renders them.

The local Prometheus has no service discovery of Kubernetes: a file holds the pods with the labels
that the discovery gives them, so that the relabelings of the monitors see what they expect. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Object = Mapping[str, Any]

_META = "__meta_kubernetes"


def configuration(
    monitors: Iterable[Object], *, rules: str, targets: str, interval: str
) -> dict[str, Any]:
    """Return the configuration of a Prometheus that scrapes what the monitors select.

    Args:
        monitors: PodMonitors, as the API server returns them.
        rules: path of the file with rules.
        targets: path of the file with the pods, which Prometheus reads again when it changes.
        interval: time between two scrapes and two evaluations.
    """
    return {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": [rules],
        "scrape_configs": [
            _scrape(monitor, number, endpoint, targets)
            for monitor in monitors
            for number, endpoint in enumerate(monitor["spec"]["podMetricsEndpoints"])
        ],
    }


def pod_targets(pods: Iterable[Object]) -> list[dict[str, Any]]:
    """Return every port of every pod with the labels of Kubernetes' service discovery."""
    return [target for pod in pods if pod["status"].get("podIP") for target in _ports(pod)]


def _ports(pod: Object) -> Iterator[dict[str, Any]]:
    labels = {
        f"{_META}_namespace": pod["metadata"]["namespace"],
        f"{_META}_pod_name": pod["metadata"]["name"],
        f"{_META}_pod_phase": pod["status"]["phase"],
    }
    for name, value in pod["metadata"].get("labels", {}).items():
        labels[f"{_META}_pod_label_{_label(name)}"] = value
        labels[f"{_META}_pod_labelpresent_{_label(name)}"] = "true"
    for container in pod["spec"]["containers"]:
        for port in container.get("ports", ()):
            own = {
                f"{_META}_pod_container_name": container["name"],
                f"{_META}_pod_container_port_name": port.get("name", ""),
            }
            address = f"{pod['status']['podIP']}:{port['containerPort']}"
            yield {"targets": [address], "labels": {**labels, **own}}


def _scrape(monitor: Object, number: int, endpoint: Object, targets: str) -> dict[str, Any]:
    """Return the job of one endpoint of a PodMonitor."""
    metadata, spec = monitor["metadata"], monitor["spec"]
    namespace, name = metadata["namespace"], metadata["name"]
    optional = {
        "scrape_interval": endpoint.get("interval"),
        "sample_limit": spec.get("sampleLimit"),
        "label_limit": spec.get("labelLimit"),
    }
    return {
        "job_name": f"podMonitor/{namespace}/{name}/{number}",
        "metrics_path": endpoint.get("path", "/metrics"),
        "honor_labels": endpoint.get("honorLabels", False),
        **{key: value for key, value in optional.items() if value is not None},
        "file_sd_configs": [{"files": [targets]}],
        "relabel_configs": [
            *_selection(namespace, spec["selector"]["matchLabels"], endpoint["port"]),
            _copied(f"{_META}_namespace", "namespace"),
            _copied(f"{_META}_pod_container_name", "container"),
            _copied(f"{_META}_pod_name", "pod"),
            {"target_label": "job", "replacement": f"{namespace}/{name}"},
            {"target_label": "endpoint", "replacement": endpoint["port"]},
            *map(_own, endpoint.get("relabelings", ())),
        ],
    }


def _selection(namespace: str, labels: Mapping[str, str], port: str) -> Iterator[dict[str, Any]]:
    """Yield what keeps the pods that a monitor selects, while they run."""
    phase = {"source_labels": [f"{_META}_pod_phase"], "regex": "(Failed|Succeeded)"}
    yield {"action": "drop", **phase}
    yield _kept([f"{_META}_namespace"], re.escape(namespace))
    for name, value in labels.items():
        sources = [f"{_META}_pod_{kind}_{_label(name)}" for kind in ("label", "labelpresent")]
        yield _kept(sources, f"({re.escape(value)});true")
    yield _kept([f"{_META}_pod_container_port_name"], re.escape(port))


def _kept(sources: list[str], regex: str) -> dict[str, Any]:
    return {"action": "keep", "source_labels": sources, "regex": regex}


def _copied(source: str, target: str) -> dict[str, Any]:
    return {"source_labels": [source], "target_label": target}


def _own(relabeling: Mapping[str, Any]) -> dict[str, Any]:
    """Return a relabeling of a monitor with the names of Prometheus: `target_label`."""
    return {
        re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower(): value
        for name, value in relabeling.items()
    }


def _label(name: str) -> str:
    """Return a label of Kubernetes as Prometheus writes it."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)
