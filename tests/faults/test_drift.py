"""Edited and deleted children are repaired while watches are broken, silent or lose deletions."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import pytest

from fault_api import Api, until
from fault_exchange import Fault
from fault_lane import Lane, lane
from fault_proxy_watches import DropEvents, a_deletion
from mistral_operator.kube import kinds, names

ENDPOINTS = 10
SPREAD_SECONDS = 3.0
"""The changes of a round come at random moments, so that no sweep finds all of them at once."""
REPAIR_SECONDS = 30.0
REPAIRS = 50
"""For each of the gaps."""

Step = Callable[[Lane, str], Awaitable[None]]


@dataclass(frozen=True)
class Gap:
    """What happens to the watches when a child is changed."""

    faults: tuple[Fault, ...] = ()
    break_watches: Callable[[Lane], object] = lambda lane: None

    def active(self, lane: Lane) -> AbstractContextManager[None]:
        """Return the faults of the period in which children are changed."""
        return lane.proxy.fault(*self.faults) if self.faults else nullcontext()


GAPS = {
    "no fault": Gap(),
    "silent": Gap((DropEvents(),)),
    "no DELETED": Gap((DropEvents(a_deletion),)),
    "ERROR 410": Gap(break_watches=lambda lane: lane.proxy.end_watches(410)),
    "ERROR 500": Gap(break_watches=lambda lane: lane.proxy.end_watches(500)),
    "cut": Gap(break_watches=lambda lane: lane.proxy.disconnect()),
}


async def delete_service(made: Lane, name: str) -> None:
    """Delete the Service."""
    await made.api.delete(kinds.SERVICE, made.namespace, name)


async def delete_policy(made: Lane, name: str) -> None:
    """Delete the NetworkPolicy."""
    await made.api.delete(kinds.NETWORK_POLICY, made.namespace, name)


async def edit_deployment(made: Lane, name: str) -> None:
    """Edit a field of the Deployment that restarts no pod."""
    edit = {"spec": {"revisionHistoryLimit": 9}}
    await made.api.merge(kinds.DEPLOYMENT, made.namespace, name, edit)


async def edit_service(made: Lane, name: str) -> None:
    """Edit the selector of the Service."""
    edit = {"spec": {"selector": {names.LABEL_DEPLOYMENT: "another"}}}
    await made.api.merge(kinds.SERVICE, made.namespace, name, edit)


STEPS = (delete_service, edit_deployment, delete_policy, edit_service)


async def is_whole(made: Lane, name: str) -> bool:
    """Return whether the children of an endpoint are as they should be."""
    service = await made.get(kinds.SERVICE, name)
    deployment = await made.get(kinds.DEPLOYMENT, name)
    return (
        await made.get(kinds.NETWORK_POLICY, name) != {}
        and service.get("spec", {}).get("selector", {}).get(names.LABEL_DEPLOYMENT) == name
        and deployment["spec"]["revisionHistoryLimit"] != 9
    )


async def repaired(made: Lane, name: str, gap: Gap, step: Step, chance: random.Random) -> float:
    """Change a child of one endpoint; return the seconds until it is repaired."""
    await asyncio.sleep(chance.random() * SPREAD_SECONDS)
    gap.break_watches(made)
    started = time.monotonic()
    await step(made, name)
    await until(lambda: is_whole(made, name), f"{step.__doc__} {name}", REPAIR_SECONDS)
    return time.monotonic() - started


@pytest.mark.timeout(1200)
@pytest.mark.exhaustive
@pytest.mark.parametrize("gap", GAPS)
async def test_drift_is_repaired_while_watches_fail(
    api: Api,
    tmp_path: Path,
    gap: str,
    row: Callable[[object], None],
) -> None:
    chance, seconds = random.Random(gap), list[float]()
    endpoints = [f"small-{number}" for number in range(ENDPOINTS)]
    async with lane(api, f"drift-{gap.lower().replace(' ', '-')}", tmp_path) as made:
        for name in endpoints:
            await made.create({"device": "cpu", "engine": {"kvCache": {"memory": "64Mi"}}}, name)

        async def all_ready() -> bool:
            return all([await made.is_ready(name) for name in endpoints])

        await made.settle(all_ready)
        with GAPS[gap].active(made):
            while len(seconds) < REPAIRS:
                seconds += await asyncio.gather(
                    *(
                        repaired(made, name, GAPS[gap], chance.choice(STEPS), chance)
                        for name in endpoints
                    )
                )
        assert made.operator.exits == []
        assert made.operator.tracebacks == 0
    percentiles = quantiles(seconds, n=20)
    row(
        f"drift, {gap}: {len(seconds)} of {REPAIRS} repaired;"
        f" p50 {percentiles[9]:.1f} p95 {percentiles[18]:.1f} max {max(seconds):.1f} s"
    )
    assert len(seconds) == REPAIRS
