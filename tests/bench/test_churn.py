"""An hour of churn in a fleet of 300: edits, deletions and lost children leave nothing behind.

`MISTRAL_BENCH_CHURN` sets the seconds. Memory, queue and open files of the operator are printed
over time; at the end, every resource is reconciled and has its children.
"""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from bench.control_planes import StartCluster
from cluster_namespace import resource
from fault_api import Api, Object, until
from mistral_operator.kube import kinds, names
from operator_process import OperatorProcess

SECONDS = float(os.environ.get("MISTRAL_BENCH_CHURN", "3600"))
FLEET = 300
CHANGES_PER_SECOND = 2.0
SAMPLES = 20
MOST_GROWTH_MIB = 12.0
"""Between the second quarter and the last: allocators and caches fill during the first."""
NAMESPACE = "default"
SPEC: Object = {"device": "cpu", "engine": {"kvCache": {"memory": "64Mi"}}}
TOUCHED = (kinds.SERVICE, kinds.DEPLOYMENT, kinds.NETWORK_POLICY, kinds.SERVICE_ACCOUNT)


@dataclass
class Churn:
    """Changes a fleet at random.

    Args:
        api: the API server.
        chance: decides what is changed.
    """

    api: Api
    chance: random.Random
    changes: int = 0

    async def once(self) -> None:
        """Make one change, to a resource or to what the operator made of it."""
        name = f"churn-{self.chance.randrange(FLEET):03}"
        await self.chance.choice((self._edit, self._edit, self._anew, self._child, self._pod))(name)
        self.changes += 1

    async def _edit(self, name: str) -> None:
        spec = self.chance.choice(
            (
                {"networkPolicy": self.chance.random() < 0.5},
                {"replicas": self.chance.randint(0, 2)},
                {"suspend": self.chance.random() < 0.3},
                {"engine": {"contextLength": self.chance.choice((2048, 4096))}},
            )
        )
        await self.api.merge(kinds.RESOURCE, NAMESPACE, name, {"spec": spec})

    async def _anew(self, name: str) -> None:
        await self.api.delete(kinds.RESOURCE, NAMESPACE, name)
        await self.api.create(kinds.RESOURCE, NAMESPACE, resource(name, SPEC))

    async def _child(self, name: str) -> None:
        await self.api.delete(self.chance.choice(TOUCHED), NAMESPACE, name)

    async def _pod(self, name: str) -> None:
        selector = f"{names.LABEL_DEPLOYMENT}={name}"
        for body in (await self.api.list(kinds.POD, NAMESPACE, selector))[:1]:
            await self.api.delete(kinds.POD, NAMESPACE, body["metadata"]["name"], force=True)


@dataclass(frozen=True)
class Sample:
    """The operator at one moment."""

    seconds: float
    memory_mib: float
    cpu_seconds: float
    files: int
    waiting: float
    """Resources queued or waiting for a retry."""

    def __str__(self) -> str:
        """Return a row of the table."""
        return (
            f"{self.seconds:7.0f} {self.memory_mib:8.1f} {self.cpu_seconds:8.1f} {self.files:6}"
            f" {self.waiting:8.0f}"
        )


def sample(operator: OperatorProcess, started: float) -> Sample:
    """Look at the operator."""
    assert operator.process is not None
    process = psutil.Process(operator.process.pid)
    waiting = operator.metric("mistral_operator_queue_depth")
    return Sample(
        time.monotonic() - started,
        process.memory_info().rss / 2**20,
        sum(process.cpu_times()[:2]),
        process.num_fds(),
        waiting + operator.metric("mistral_operator_queue_retrying"),
    )


@pytest.mark.timeout(9000)
async def test_an_hour_of_churn_leaves_nothing_behind(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    cluster = start_cluster()
    operator = OperatorProcess(cluster, tmp_path / "operator.log")
    operator.start()
    async with Api(cluster) as api:
        for number in range(FLEET):
            body = resource(f"churn-{number:03}", SPEC)
            await api.create(kinds.RESOURCE, NAMESPACE, body)
        await until(_settled(api), "the fleet", 600)

        churn, started = Churn(api, random.Random(1)), time.monotonic()
        taken: list[Sample] = []
        print(f"\n{FLEET} resources\nseconds  RSS MiB    CPU s  files  waiting")
        while (passed := time.monotonic() - started) < SECONDS:
            await churn.once()
            if passed >= len(taken) * SECONDS / SAMPLES:
                taken.append(await asyncio.to_thread(sample, operator, started))
                print(taken[-1], flush=True)
            await asyncio.sleep(max(0.0, churn.changes / CHANGES_PER_SECOND - passed))
        settled_seconds = await until(_settled(api), "the fleet to settle", 120)
        last = await asyncio.to_thread(sample, operator, started)
        print(f"{last}\n{churn.changes} changes; settled {settled_seconds:.1f} s after the last")

    operator.stop()
    quarter = SAMPLES // 4
    growth = last.memory_mib - max(one.memory_mib for one in taken[quarter : 2 * quarter])
    print(f"grown by {growth:.1f} MiB since the second quarter")
    assert growth < MOST_GROWTH_MIB
    assert last.waiting == 0
    assert last.files <= taken[0].files + 20
    assert "Traceback" not in operator.log.read_text()


def _settled(api: Api) -> Callable[[], Awaitable[bool]]:
    async def settled() -> bool:
        bodies = await api.list(kinds.RESOURCE, NAMESPACE)
        services = {one["metadata"]["name"] for one in await api.list(kinds.SERVICE, NAMESPACE)}
        return len(bodies) == FLEET and all(
            one.get("status", {}).get("observedGeneration") == one["metadata"]["generation"]
            and one["status"].get("readyReplicas", 0) == _desired(one)
            and one["metadata"]["name"] in services
            for one in bodies
        )

    return settled


def _desired(body: Object) -> int:
    spec = body["spec"]
    return 0 if spec.get("suspend") else int(spec.get("replicas", 1))
