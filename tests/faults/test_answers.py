"""Error responses, and watches that lose, repeat or delay events, lead to the same end state."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from fault_api import Api
from fault_lane import lane
from fault_selection import cases, selected
from fault_stories import Story, all_stories
from mistral_dev.cluster import Cluster

LANES = 4
"""Concurrent stories, which mostly wait."""
SAMPLE = {"none", "429", "deletions-lost"}
SETTLED_SECONDS = 45.0
"""A key that failed several times waits up to 32 s and half as long again."""
SETTLED_AFTER_LOST_EVENTS = 30.0
LOST_EVENTS = {"watch-410", "deletions-lost", "silent", "stale-restart"}
KILLED = {"stale-restart": [-9]}


async def play(cluster: Cluster, directory: Path, stories: list[Story]) -> None:
    """Play stories concurrently."""
    free = asyncio.Semaphore(LANES)

    async def one(api: Api, story: Story) -> None:
        async with free, lane(api, f"answers-{story.name}", directory) as made:
            try:
                await story.play(made)
            except Exception as error:
                story.failures.append(f"{type(error).__name__}: {error}; {made.operator.log}")

    async with Api(cluster) as api:
        await asyncio.gather(*(one(api, story) for story in stories))


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Story]:
    """Play the story of every selected test, and the one without a fault."""
    names = {*selected(request, "fault"), "none"}
    stories = [one for one in all_stories() if one.name in names]
    asyncio.run(play(cluster, tmp_path_factory.mktemp("answers"), stories))
    return {one.name: one for one in stories}


@pytest.mark.parametrize("fault", cases([one.name for one in all_stories()], SAMPLE))
def test_a_fault_that_ends_leaves_nothing_behind(
    played: dict[str, Story], fault: str, row: Callable[[object], None]
) -> None:
    story, reference = played[fault], played["none"]
    row(story)
    assert not story.failures, "\n".join(story.failures)
    assert story.state is not None
    assert reference.state is not None
    differences = story.state.object_differences(reference.state)
    assert not differences, "\n".join(differences)
    assert story.exits == KILLED.get(fault, [])
    assert story.tracebacks == 0
    limit = SETTLED_AFTER_LOST_EVENTS if fault in LOST_EVENTS else SETTLED_SECONDS
    assert story.settled_seconds <= limit
