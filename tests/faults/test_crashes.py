"""The operator is killed before and after every write; its successor ends in the same state."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from activator_process import network_of_fake_pods
from fault_activator import activator, settings
from fault_api import Api
from fault_crashes import Crashes
from fault_lane import lane
from fault_operations import OPERATIONS
from fault_selection import cases, is_exhaustive, selected
from mistral_dev.cluster import Cluster

LANES = 9
"""Concurrent operations, which mostly wait."""
QUIET_SECONDS = 5.0
SAMPLE = {"create", "memory"}


async def play(
    cluster: Cluster, directory: Path, crashes: list[Crashes], points: slice, quiet_seconds: float
) -> None:
    """Play operations concurrently."""
    free = asyncio.Semaphore(LANES)

    async def one(api: Api, crash: Crashes) -> None:
        name, sleeps = f"crash-{crash.operation.name}", crash.operation.scales_to_zero
        own = settings(name) if sleeps else {}
        async with free, lane(api, name, directory, **own) as made:
            try:
                async with activator(made) if sleeps else nullcontext():
                    await crash.play(made, points, quiet_seconds)
            except Exception as error:
                crash.failures.append(f"{type(error).__name__}: {error}; log {made.operator.log}")

    async with Api(cluster) as api:
        await asyncio.gather(*(one(api, crash) for crash in crashes))


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Crashes]:
    """Play the operation of every selected test."""
    exhaustive, names = is_exhaustive(request), selected(request, "operation")
    crashes = [Crashes(one) for one in OPERATIONS if one.name in names]
    points = slice(None) if exhaustive else slice(2, None, 5)
    directory = tmp_path_factory.mktemp("crashes")
    need_network = any(one.operation.scales_to_zero for one in crashes)
    with network_of_fake_pods() if need_network else nullcontext():
        asyncio.run(play(cluster, directory, crashes, points, QUIET_SECONDS))
    return {one.operation.name: one for one in crashes}


@pytest.mark.parametrize("operation", cases([one.name for one in OPERATIONS], SAMPLE))
def test_a_kill_at_any_write_changes_nothing(
    played: dict[str, Crashes], operation: str, row: Callable[[object], None]
) -> None:
    crashes = played[operation]
    row(crashes)
    assert not crashes.failures, "\n".join(crashes.failures)
    assert crashes.kills > 0
