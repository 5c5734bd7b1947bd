"""A Prometheus in the network of a cluster, which scrapes what the cluster's PodMonitors select.

A thread takes the part of the Prometheus operator and of Kubernetes' service discovery: it writes
configuration and targets whenever PodMonitors and pods change. Prometheus reads both again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from mistral_dev.cluster import Cluster
from mistral_dev.installation import CHART
from mistral_dev.panels import monitors, prometheus
from mistral_dev.paths import write_atomically

INTERVAL = "10s"
"""Time between two scrapes."""
_PART = "prometheus"
_PORT = 9090
_DISCOVERY_SECONDS = 3.0


@dataclass(frozen=True)
class Discovery:
    """What Prometheus reads, written from the objects of a cluster."""

    cluster: Cluster
    folder: Path

    @property
    def configuration(self) -> Path:
        """The configuration of Prometheus."""
        return self.folder / "prometheus.yml"

    def write(self) -> None:
        """Write configuration and targets as the cluster's objects are now."""
        text = self.cluster.kubectl("get", "podmonitors,pods", "--all-namespaces", "-o", "json")
        objects = json.loads(text)["items"]
        targets = self.folder / "targets.json"
        rendered = monitors.configuration(
            [one for one in objects if one["kind"] == "PodMonitor"],
            rules=str(CHART / "rules" / "mistral.yaml"),
            targets=str(targets),
            interval=INTERVAL,
        )
        pods = monitors.pod_targets(one for one in objects if one["kind"] == "Pod")
        _write_changed(targets, json.dumps(pods, indent=1))
        _write_changed(self.configuration, yaml.safe_dump(rendered))

    def follow(self, over: threading.Event) -> None:
        """Write again and again until the recording is over."""
        while not over.wait(_DISCOVERY_SECONDS):
            self.write()


@contextmanager
def scraped(cluster: Cluster, folder: Path) -> Iterator[None]:
    """Record the metrics of a cluster in `folder`/data for a block of code."""
    discovery = Discovery(cluster, folder)
    discovery.write()
    argv = prometheus.command(discovery.configuration, folder / "data", _PORT)
    reload = ("--enable-feature=auto-reload-config", "--config.auto-reload-interval=5s")
    cluster.processes.start(_PART, [*argv, *reload])
    over = threading.Event()
    thread = threading.Thread(target=discovery.follow, args=(over,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        cluster.processes.stop([_PART], seconds=60)


def _write_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        write_atomically(path, text)
