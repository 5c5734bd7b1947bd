"""A fleet of resources, 1,000 by default, beside a bare client that applies the same objects.

Both start from resources that exist already. The client applies their children, 20 requests
at a time, and does nothing else; the operator also watches, compares and writes status and Events.
The controllers, the scheduler and kwok work on the same two cores in both.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from bench.control_planes import StartCluster
from bench.curves import Chart, curve_plot
from bench.usage_samples import UsageSamples, sampled
from cluster_namespace import Namespace, resource
from mistral_dev.cluster import Cluster
from mistral_operator.api import parse_resource
from mistral_operator.kube.client import Cluster as Client
from mistral_operator.kube.kinds import CHILD_KINDS, POD, RESOURCE, selector_of
from mistral_operator.kube.objects import Key
from mistral_operator.render import RenderContext, children
from mistral_operator.watch.resync import Resync, Watcher
from mistral_operator.watch.store import Store
from mistral_operator.watch.sweep import Sweep
from mistral_operator.watch.workqueue import WorkQueue
from operator_process import OperatorProcess

FLEET = int(os.environ.get("MISTRAL_BENCH_FLEET", "1000"))
CONCURRENCY = 20
IDLE_SECONDS = int(os.environ.get("MISTRAL_BENCH_IDLE", "180"))
LONGEST_SECONDS = 600 + FLEET // 2
PLOT = os.environ.get("MISTRAL_BENCH_PLOT")
"""File for a plot of CPU time and memory over time, as SVG; none is written without it."""
SPEC = {"device": "cpu", "engine": {"kvCache": {"memory": "64Mi"}}}
"""No GPUs: 1,000 replicas of two would need 2,000."""
IMAGE = "example.com/server:test"


@dataclass(frozen=True)
class Measured:
    """One way of applying the fleet."""

    seconds: float
    children: int
    cpu_seconds: float
    rss_mib: float
    samples: UsageSamples


@pytest.mark.timeout(5400)
def test_a_fleet_beside_a_bare_client(start_cluster: StartCluster, tmp_path: Path) -> None:
    bare = asyncio.run(_bare_client(start_cluster()))
    cluster = start_cluster()
    operator = OperatorProcess(cluster, tmp_path / "operator.log", {"SERVER_IMAGE": IMAGE})
    ours = _operator(cluster, operator)
    idle = _writes_while(cluster, lambda: time.sleep(IDLE_SECONDS))
    rss = _process(operator).memory_info().rss / 2**20
    restart = _writes_while(cluster, lambda: _restart(operator))
    operator.stop()

    print(f"\n{FLEET} resources       wall s  children/s  CPU s  RSS MiB")
    for name, one in (("bare client", bare), ("operator", ours)):
        rate, cpu = one.children / one.seconds, one.cpu_seconds
        print(f"{name:<20} {one.seconds:7.1f}  {rate:10.1f}  {cpu:5.1f}  {one.rss_mib:7.1f}")
    if PLOT:
        Path(PLOT).write_text(_draw({"bare client": bare, "operator": ours}))
    print(f"ratio {ours.seconds / bare.seconds:.2f}")
    print(f"writes in {IDLE_SECONDS} idle s: {sum(idle.values())} {dict(idle)}")
    print(f"writes after a restart: {sum(restart.values())} {dict(restart)}; RSS {rss:.0f} MiB")
    assert ours.children == bare.children
    assert not idle
    assert not restart


@pytest.mark.timeout(1800)
async def test_a_sweep_of_1000(start_cluster: StartCluster) -> None:
    cluster = start_cluster()
    await _bare_client(cluster)
    store, queue = Store(CHILD_KINDS), WorkQueue[Key]()
    watcher = Watcher(store, queue)
    selectors = {kind: selector_of(kind) for kind in (RESOURCE, POD, *CHILD_KINDS)}
    async with await Client.connect(CONCURRENCY, str(cluster.kubeconfig)) as client:
        resync = Resync(client, watcher, selectors, ())
        sweep = Sweep(client, store, watcher, resync, selectors, ())
        print(f"\n{FLEET} resources    wall ms  CPU ms")
        # The first of each warms up; the second is measured.
        for name, compare in (("full list", resync.once), ("sweep", sweep.once)) * 2:
            started, cpu = time.monotonic(), time.process_time()
            await compare()
            wall, used = time.monotonic() - started, time.process_time() - cpu
            print(f"{name:<17} {wall * 1e3:7.0f} {used * 1e3:7.0f}")
    assert len(store.resources) == FLEET


async def _bare_client(cluster: Cluster) -> Measured:
    slots = asyncio.Semaphore(CONCURRENCY)
    async with await Client.connect(CONCURRENCY, str(cluster.kubeconfig)) as client:
        await _create_resources(cluster)
        objects = await _rendered(client)
        me = psutil.Process()
        started, cpu = time.monotonic(), sum(me.cpu_times()[:2])

        async def apply_one(group: Iterable[dict[str, object]]) -> None:
            async with slots:
                for one in group:
                    await client.apply(one, force=False)

        with sampled(me) as samples:
            await asyncio.gather(*(apply_one(group) for group in objects))
        seconds = time.monotonic() - started
        return Measured(
            seconds=seconds,
            children=sum(len(group) for group in objects),
            cpu_seconds=sum(me.cpu_times()[:2]) - cpu,
            rss_mib=me.memory_info().rss / 2**20,
            samples=samples,
        )


def _operator(cluster: Cluster, operator: OperatorProcess) -> Measured:

    asyncio.run(_create_resources(cluster))
    position = cluster.audit_position()
    operator.start()
    operator.until_acting()
    started = time.time()
    namespace = Namespace(cluster, "default")
    with sampled(_process(operator)) as samples:
        namespace.until(lambda: _count(namespace) == FLEET, "the children", LONGEST_SECONDS)
        namespace.until(lambda: _ready(namespace) == FLEET, "all to be ready", LONGEST_SECONDS)
        time.sleep(5)
    created = [
        datetime.fromisoformat(event["stageTimestamp"]).timestamp()
        for event in cluster.audit_events(position)
        if event["verb"] == "patch" and event.get("responseStatus", {}).get("code") == 201
    ]
    process = _process(operator)
    return Measured(
        seconds=max(created) - started,
        children=len(created),
        cpu_seconds=sum(process.cpu_times()[:2]),
        rss_mib=process.memory_info().rss / 2**20,
        samples=samples,
    )


def _draw(measured: dict[str, Measured]) -> str:
    rows = {name: one.samples.rows for name, one in measured.items()}
    cpu = {name: [(at, cpu) for at, cpu, _ in each] for name, each in rows.items()}
    memory = {name: [(at, mib) for at, _, mib in each] for name, each in rows.items()}
    title = f"of {FLEET} resources"
    return curve_plot(
        [Chart(f"CPU seconds for the start {title}", cpu), Chart(f"Memory, MiB {title}", memory)]
    )


def _count(namespace: Namespace) -> int:
    """Return how many resources have children, without a burden on what is measured."""
    path = "/apis/networking.k8s.io/v1/networkpolicies?limit=1"
    listed = json.loads(namespace.kubectl("get", "--raw", path))
    time.sleep(1)
    return len(listed["items"]) + int(listed["metadata"].get("remainingItemCount", 0))


def _ready(namespace: Namespace) -> int:
    time.sleep(5)  # the list is long
    ready = "{.items[?(@.status.readyReplicas==1)].metadata.name}"
    return len(namespace.kubectl("get", "msd", f"-o=jsonpath={ready}").split())


async def _create_resources(cluster: Cluster) -> None:
    documents = [resource(f"fleet-{number:04}", SPEC) for number in range(FLEET)]
    for start in range(0, FLEET, 250):
        await asyncio.to_thread(
            Namespace(cluster, "default").apply, *documents[start : start + 250]
        )


async def _rendered(client: Client) -> list[tuple[dict[str, object], ...]]:
    bodies = [body async for page, _ in client.list_pages(RESOURCE, None, None) for body in page]
    context = RenderContext(IMAGE)
    return [children(parse_resource(body), context) for body in bodies]


def _process(operator: OperatorProcess) -> psutil.Process:
    assert operator.process is not None
    return psutil.Process(operator.process.pid)


def _restart(operator: OperatorProcess) -> None:
    operator.stop()
    operator.start()
    operator.until_acting()
    time.sleep(30)


def _writes_while(cluster: Cluster, act: object) -> Counter[str]:
    assert callable(act)
    position = cluster.audit_position()
    act()
    return Counter(
        f"{event['verb']} {event['objectRef']['resource']}"
        for event in cluster.audit_events(position)
        if event["verb"] in {"create", "update", "patch", "delete"}
        and event["user"]["username"] == "admin"
        # kwok writes these with the same certificate.
        and event["objectRef"]["resource"] not in {"leases", "pods", "events", "nodes"}
    )
