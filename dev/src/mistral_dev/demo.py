"""`make demo`: from a bare machine to a chat answer, a tool call and the metrics.

Everything is what a user would do: helm installs the chart, kubectl applies an example, the openai
client talks to the Service. Only the model is small and random, and its GPUs are two CPU processes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import urlopen

import click

from mistral_dev import conversation
from mistral_dev.cluster import Cluster
from mistral_dev.errors import DevError
from mistral_dev.forwarding import forwarded
from mistral_dev.installation import EXAMPLE, OPERATOR_NAMESPACE, Installation
from mistral_dev.prepare import everything
from mistral_dev.progress import Progress
from mistral_dev.settings import Profile

CLUSTER = "demo"
NAMESPACE = "demo"
NAME = "tiny"
READY_SECONDS = 600

_METRICS = (
    "mistral_engine_start_seconds",
    "mistral_generation",
    "mistral_tool_",
    "mistral_requests_changed_total",
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:request_success_total",
    "vllm:kv_cache_usage_perc",
    "mistral_deployment_condition",
    "mistral_deployment_replicas",
    "mistral_operator_writes_total",
    "mistral_operator_reconcile_total",
)
"""What is shown of the metrics; there is more."""


@click.group()
def demo() -> None:
    """The demo: from a bare machine to an answer."""


@demo.command("run")
def run_demo() -> None:
    """Run the demo on a cluster of its own.

    Installs the operator, serves a small model and sends requests.
    """
    started = time.monotonic()
    progress = Progress()
    with _stage(1, "programs, engine and images (minutes the first time, then cached)"):
        prepared = everything(progress)
    cluster = Cluster(CLUSTER, Profile.NODE, progress=progress)
    with _stage(2, "a Kubernetes cluster: one real node in a network namespace of its own"):
        cluster.up()
        cluster.patch_gpus(4)
    installation = Installation(cluster, prepared)
    with _stage(3, "helm install mistral-small-operator"):
        installation.install()
    with _stage(4, f"kubectl apply -f examples/{EXAMPLE.name} (tensor parallelism 2)"):
        installation.make_namespace(NAMESPACE)
        cluster.kubectl("--namespace", NAMESPACE, "apply", "-f", str(EXAMPLE))
        _wait_until_ready(cluster, progress)
    with (
        _stage(5, "requests of the openai client"),
        forwarded(cluster, NAMESPACE, f"svc/{NAME}", "http") as url,
    ):
        conversation.show(f"{url}/v1")
    with _stage(6, "metrics"):
        _show_metrics(cluster)
    _show_resource(cluster)
    click.secho(f"\nDone in {time.monotonic() - started:.0f} s.", bold=True)
    click.echo(
        "The endpoint keeps running. Look around:  .venv/bin/python -m mistral_dev cluster run"
        f" --name {CLUSTER} -- kubectl get msd -A\nStop it all:  make demo-down"
    )


@demo.command("stop")
def stop_demo() -> None:
    """Stop the demo's cluster and delete its state.

    Built programs stay in the cache.
    """
    cluster = Cluster(CLUSTER, Profile.NODE)
    if cluster.exists():
        cluster.down(wipe=True)


@contextmanager
def _stage(number: int, title: str) -> Iterator[None]:
    click.secho(f"\n[{number}/6] {title}", bold=True)
    started = time.monotonic()
    yield
    click.secho(f"[{number}/6] {time.monotonic() - started:.1f} s", dim=True)


def _wait_until_ready(cluster: Cluster, progress: Progress) -> None:
    """Wait for the condition Ready, and print each new reason and message."""
    deadline, reported = time.monotonic() + READY_SECONDS, ""
    started = time.monotonic()
    while time.monotonic() < deadline:
        ready = _condition(cluster)
        report = f"{ready.get('reason', 'Pending')}: {ready.get('message', 'no status yet')}"
        if report != reported:
            progress.line(f"  {time.monotonic() - started:5.1f} s  {report}")
            reported = report
        if ready.get("status") == "True":
            return
        time.sleep(0.5)
    raise DevError(
        f"{NAME} was not ready within {READY_SECONDS} s. The last report was: {reported}\n"
        + cluster.kubectl("--namespace", NAMESPACE, "get", "pods,events")
    )


def _condition(cluster: Cluster) -> dict[str, str]:
    text = cluster.kubectl("--namespace", NAMESPACE, "get", "msd", NAME, "-o", "json")
    status = json.loads(text).get("status", {})
    conditions = (one for one in status.get("conditions", []) if one["type"] == "Ready")
    return next(conditions, {})


def _show_metrics(cluster: Cluster) -> None:
    sources = (
        (NAMESPACE, f"deployment/{NAME}", "http"),
        (NAMESPACE, f"deployment/{NAME}", "health"),
        (OPERATOR_NAMESPACE, "deployment/mistral-small-operator", "http"),
    )
    for namespace, target, port in sources:
        click.secho(f"  {target} port {port}", dim=True)
        with (
            forwarded(cluster, namespace, target, port) as url,
            urlopen(f"{url}/metrics", timeout=10) as answer,  # noqa: S310 - http on loopback
        ):
            lines = answer.read().decode().splitlines()
        for line in lines:
            if line.startswith(_METRICS) and not line.endswith(" 0.0") and "_created" not in line:
                click.echo(f"    {line}")


def _show_resource(cluster: Cluster) -> None:
    click.secho("\n$ kubectl get msd -o wide", bold=True)
    click.echo(cluster.kubectl("--namespace", NAMESPACE, "get", "msd", "-o", "wide"))
