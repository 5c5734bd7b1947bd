"""The API server and etcd are killed, and the CRD is deleted, under two operators that elect."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fault_api import Api, Refused, until
from fault_pair import Pair, double_writes, pair
from mistral_dev.cluster import Cluster
from mistral_operator.api.crd import custom_resource_definition
from mistral_operator.kube import names

pytestmark = pytest.mark.exhaustive
RETURN_SECONDS = 20.0
"""From the return to the next write: Kopf, the Lease and our retries each wait up to 5 s."""
CRD = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{names.PLURAL}.{names.GROUP}"


async def kill_and_restart(cluster: Cluster, away_seconds: float, *parts: str) -> None:
    """Kill parts of the control plane, and start them again after a time."""
    for part in parts:
        pid = int((cluster.layout.run / f"{part}.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(away_seconds)
    await asyncio.to_thread(cluster.revive)


async def exits_and_return(made: Pair, fault: Callable[[], Awaitable[None]]) -> float:
    """Let something happen to a pair; return the time until the next write."""
    await made.until_led()
    made.begin()
    await fault()
    started = time.time()

    async def acted() -> bool:
        writes = [one for one in await made.writes() if one.kind != "leases" and one.at > started]
        if not writes:
            await made.edit(int(time.time()))
        return bool(writes)

    return await until(acted, "a write", 120)


@pytest.mark.parametrize(
    ("parts", "away_seconds"),
    [(("kube-apiserver",), 5.0), (("etcd", "kube-apiserver"), 20.0), (("kube-apiserver",), 300.0)],
    ids=["API server", "etcd and API server", "API server for five minutes"],
)
async def test_a_control_plane_that_is_killed_ends_no_operator(
    cluster: Cluster,
    api: Api,
    tmp_path: Path,
    parts: tuple[str, ...],
    away_seconds: float,
    row: Callable[[object], None],
) -> None:
    async with pair(api, f"restart-{len(parts)}-{away_seconds:g}", tmp_path, edits=False) as made:
        took = await exits_and_return(made, lambda: kill_and_restart(cluster, away_seconds, *parts))

        row(f"{' and '.join(parts)} away for {away_seconds:g} s: next write {took:.1f} s later")
        assert took <= RETURN_SECONDS
        assert [made.exits(one) for one in made.replicas] == [[], []]
        assert made.tracebacks == 0
        assert double_writes(await made.writes()) == []


async def test_a_crd_that_is_deleted_and_created_anew_ends_no_operator(
    api: Api, tmp_path: Path, row: Callable[[object], None]
) -> None:
    async with pair(api, "crd", tmp_path, edits=False) as made:
        await made.until_led()
        made.begin()
        await api.request("DELETE", CRD)
        await until(lambda: _is_gone(api), "the CRD to go", 60)
        await asyncio.sleep(15)
        path = CRD.rpartition("/")[0]
        await api.request("POST", path, custom_resource_definition())
        created = time.time()

        await until(lambda: _created(made), "the resources", 30)

        async def acted() -> bool:
            return any(
                one.kind == "deployments" and one.at > created for one in await made.writes()
            )

        took = await until(acted, "a Deployment", 60)
        row(f"CRD away for 15 s: acted {took:.1f} s after its return")
        assert [made.exits(one) for one in made.replicas] == [[], []]
        assert made.tracebacks == 0


async def _is_gone(api: Api) -> bool:
    try:
        await api.request("GET", CRD)
    except Refused as error:
        return error.status == 404
    return False


async def _created(made: Pair) -> bool:
    try:
        await made.create()
    except Refused:
        return False
    return True
