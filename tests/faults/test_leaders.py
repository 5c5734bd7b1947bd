"""Two replicas elect a leader, and one at a time writes under every fault."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fault_api import Api
from fault_leaders import Rounds, all_rounds
from fault_pair import pair, shifted_clock
from fault_selection import cases, is_exhaustive, selected
from mistral_dev.cluster import Cluster

PAIRS = 4
"""Concurrent pairs, which mostly wait."""
ROUNDS = int(os.environ.get("MISTRAL_FAULT_ROUNDS", "20"))
NEXT_ACTION_SECONDS = 20.0
RETURN_SECONDS = 10.0
"""From the return of the API server to the next write; two cores are shared here."""
SAMPLE = {"frozen", "partition"}
EXITS = {
    # A replica that sees another holder starts anew.
    **dict.fromkeys(("frozen", "lease-requests-hang", "partition", "refused", "killed"), 1),
    "both-refused": 0,
    "clocks": 0,
    "clocks-frozen": 1,
}
"""Exits that a round may cause."""


async def play(cluster: Cluster, directory: Path, every: list[Rounds], rounds: int) -> None:
    """Play rounds, with several pairs at a time."""
    free = asyncio.Semaphore(PAIRS)

    async def one(api: Api, played: Rounds) -> None:
        clocks = {
            name: shifted_clock(directory / f"{played.name}-{name}", seconds)
            for name, seconds in played.clocks.items()
        }
        async with free, pair(api, f"leader-{played.name}", directory, clocks) as made:
            try:
                await played.play(made, rounds)
            except Exception as error:
                played.failures.append(f"{type(error).__name__}: {error}")

    async with Api(cluster) as api:
        await asyncio.gather(*(one(api, played) for played in every))


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Rounds]:
    """Play the rounds of every selected test."""
    exhaustive, names = is_exhaustive(request), selected(request, "fault")
    every = [one for one in all_rounds() if one.name in names]
    directory = tmp_path_factory.mktemp("leaders")
    asyncio.run(play(cluster, directory, every, ROUNDS if exhaustive else 1))
    return {one.name: one for one in every}


@pytest.mark.parametrize("fault", cases([one.name for one in all_rounds()], SAMPLE))
def test_one_replica_writes_at_a_time(
    played: dict[str, Rounds], fault: str, row: Callable[[object], None]
) -> None:
    rounds = played[fault]
    row(rounds)
    assert not rounds.failures, "\n".join(rounds.failures)
    assert rounds.played > 0
    assert rounds.doubles == []
    assert rounds.tracebacks == 0
    assert rounds.exits <= EXITS[fault] * rounds.played
    limit = RETURN_SECONDS if fault == "both-refused" else NEXT_ACTION_SECONDS
    assert max(rounds.next_action) <= limit
