"""A recording: endpoints in a cluster of their own, what happens to them, and Prometheus's data."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from mistral_dev import tools
from mistral_dev.cluster import Cluster
from mistral_dev.installation import Installation
from mistral_dev.panels import endpoints, scraping
from mistral_dev.panels.prometheus import Span
from mistral_dev.panels.requests import MIXED
from mistral_dev.panels.stage import Stage
from mistral_dev.paths import cache_dir
from mistral_dev.prepare import everything
from mistral_dev.progress import Progress
from mistral_dev.resource_definitions import stand_in, until_established
from mistral_dev.settings import Profile

CLUSTER = "panels"
NAMESPACE = "demo"
GPUS = 8
STEADY_SECONDS = 60.0
"""Of a situation, so that the rates of the dashboard, over five minutes, show it."""
_VALUES = (
    "metrics.podMonitor.enabled=true",
    f"metrics.podMonitor.interval={scraping.INTERVAL}",
    "signalSeconds=2",
    "autoscalingSeconds=3",
)


def folder() -> Path:
    """Return the folder in the cache that holds the newest recording."""
    return cache_dir() / "panels"


def record(progress: Progress) -> Span:
    """Record the metrics of endpoints through a start, load, an edit, scaling and a failure."""
    prepared = everything(progress)
    tools.ensure(["prometheus"], progress)
    shutil.rmtree(folder(), ignore_errors=True)
    folder().mkdir(parents=True)
    with Cluster(CLUSTER, Profile.NODE, progress=progress) as cluster:
        cluster.patch_gpus(GPUS)
        cluster.kubectl("apply", "-f", "-", text=json.dumps(stand_in("PodMonitor")))
        until_established(cluster)
        installation = Installation(cluster, prepared)
        installation.install(*_VALUES)
        installation.make_namespace(NAMESPACE)
        with scraping.scraped(cluster, folder()):
            start = time.time()
            _play(Stage(cluster, NAMESPACE), progress)
            span = Span(start, time.time())
    (folder() / "span.json").write_text(json.dumps({"start": span.start, "end": span.end}))
    return span


def recorded() -> Span | None:
    """Return the span of the newest recording, or None if there is none."""
    file = folder() / "span.json"
    return Span(**json.loads(file.read_text())) if file.exists() else None


def _play(stage: Stage, progress: Progress) -> None:
    """Let happen what the dashboard shows."""
    with progress.step("a first start"):
        stage.apply(endpoints.serving(), endpoints.on_demand())
        stage.until("tiny", "Ready", "True")
    stage.start_load("mixed", "tiny", MIXED, clients=3, seconds=6 * STEADY_SECONDS)
    with progress.step("a steady load, and an endpoint that cannot start"):
        stage.apply(endpoints.limited())
        time.sleep(STEADY_SECONDS)
    with progress.step("an edit, and the rollout of it"):
        stage.edit("tiny", {"engine": {"maxSequences": 6}})
        stage.until("tiny", "Ready", "False", seconds=60)
        stage.until("tiny", "Ready", "True")
    with progress.step("requests to an endpoint that is scaled to zero"):
        stage.start_load("leaving", "on-demand", ["impatient client"], clients=2, seconds=10)
        stage.start_load("waking", "on-demand", ["chat", "long stream"], clients=6, seconds=200)
        stage.until_replicas("on-demand", 2)
    with progress.step("more and longer generations than the KV cache holds"):
        stage.start_load("pressing", "tiny", ["long generation"], clients=6, seconds=60)
        time.sleep(STEADY_SECONDS / 2)
    with progress.step("an engine that is killed, and starts again"):
        stage.kill_engine("tiny")
        stage.until("tiny", "Ready", "False", seconds=60)
        stage.until("tiny", "Ready", "True")
    with progress.step("the loads end, and an idle endpoint is scaled to zero"):
        for part in ("mixed", "leaving", "waking", "pressing"):
            stage.until_load_ended(part, seconds=20 * 60)
            progress.line(f"{part}: {stage.load_log(part)}")
        stage.until_reason("on-demand", "Asleep")
        time.sleep(STEADY_SECONDS / 2)
