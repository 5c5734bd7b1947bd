"""A scenario of several endpoints during faults, and its result."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from fault_exchange import Fault
from fault_lane import EndState, Lane
from fault_proxy_requests import Hold, Late, LoseResponses, RespondEvery, StaleLists, a_write
from fault_proxy_watches import DropEvents, LateEvents, RepeatedEvents, a_deletion
from mistral_operator.kube import kinds

FAULT_SECONDS = 30.0
QUIET_SECONDS = 5.0
FIRST = ("edited", "scaled", "drifted", "deleted")
LAST = ("edited", "scaled", "drifted", "late")
_BETWEEN_SECONDS = 2.0

Background = Callable[[Lane], Awaitable[None]]


async def _nothing(lane: Lane) -> None:
    """Do nothing besides the faults."""


@dataclass
class Story:
    """One fault, and the endpoints after it.

    Args:
        name: for test ids and tables.
        faults: are active for some time.
        background: runs meanwhile.
    """

    name: str
    faults: tuple[Fault, ...] = ()
    background: Background = _nothing
    state: EndState | None = None
    settled_seconds: float = 0.0
    """From the end of the fault to the last write."""
    writes: int = 0
    exits: list[int] = field(default_factory=list)
    tracebacks: int = 0
    failures: list[str] = field(default_factory=list)

    async def play(self, lane: Lane) -> None:
        """Play the story in a namespace of its own."""
        for name in FIRST:
            await lane.create(name=name)
        await lane.settle(lambda: _all_ready(lane, FIRST))
        lane.begin()
        lane.operator.exits.clear()
        with lane.proxy.fault(*self.faults):
            async with _running(self.background(lane)):
                started = time.monotonic()
                await _edit_all(lane)
                await asyncio.sleep(max(0.0, FAULT_SECONDS + started - time.monotonic()))
        ended = time.monotonic()
        await lane.settle(lambda: _is_over(lane))
        last = max(one.started_at for one in lane.proxy.writes)
        self.settled_seconds = max(0.0, last - ended)
        self.writes = len(lane.proxy.writes)
        self.state = await lane.end_state()
        late = await lane.writes_within(QUIET_SECONDS)
        self.failures += [f"{one} when all was done" for one in late]
        self.exits = [*lane.operator.exits]
        self.tracebacks = lane.operator.tracebacks

    def __str__(self) -> str:
        """Return a row of the table."""
        pods = self.state.pods if self.state else "?"
        return (
            f"{self.name:<16} settled {self.settled_seconds:5.1f} s  writes {self.writes:3}"
            f"  pods {pods}  exits {self.exits}  tracebacks {self.tracebacks}"
        )


async def _edit_all(lane: Lane) -> None:
    await lane.edit({"engine": {"contextLength": 16384}}, "edited")
    await lane.edit({"replicas": 2}, "scaled")
    await asyncio.sleep(_BETWEEN_SECONDS)
    await lane.api.delete(kinds.SERVICE, lane.namespace, "drifted")
    await lane.api.delete(kinds.RESOURCE, lane.namespace, "deleted")
    await asyncio.sleep(_BETWEEN_SECONDS)
    await lane.create(name="late")
    await lane.edit({"networkPolicy": False}, "edited")


async def _all_ready(lane: Lane, resources: tuple[str, ...]) -> bool:
    return all([await lane.is_ready(one) for one in resources])


async def _is_over(lane: Lane) -> bool:
    for kind in kinds.CHILD_KINDS:
        if await lane.api.get(kind, lane.namespace, "deleted") is not None:
            return False
    service = await lane.get(kinds.SERVICE, "drifted")
    policy = await lane.api.get(kinds.NETWORK_POLICY, lane.namespace, "edited")
    return bool(service) and policy is None and await _all_ready(lane, LAST)


@asynccontextmanager
async def _running(work: Awaitable[None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _watches_end(code: int, period: float) -> Background:
    async def end(lane: Lane) -> None:
        while True:
            await asyncio.sleep(period)
            lane.proxy.end_watches(code)

    return end


def _restart_with_stale_lists(lists: StaleLists) -> Background:
    async def restart(lane: Lane) -> None:
        await asyncio.sleep(8)
        lists.stale = True
        lane.operator.kill()
        await asyncio.sleep(FAULT_SECONDS)

    return restart


def _release_after(hold: Hold, seconds: float) -> Background:
    async def release(lane: Lane) -> None:
        await asyncio.sleep(seconds)
        hold.release()

    return release


def all_stories() -> list[Story]:
    """Return a story for every fault, not played yet."""
    lists, hold = StaleLists(), Hold(a_write)
    retry_after = {"Retry_After": "2"}
    return [
        Story("none"),
        Story("409", (RespondEvery(3, 409, a_write),)),
        Story("410", (RespondEvery(3, 410),)),
        Story("429", (RespondEvery(2, 429, headers=retry_after),)),
        Story("500", (RespondEvery(3, 500),)),
        Story("403", (RespondEvery(3, 403, a_write),)),
        Story("answer-lost", (LoseResponses(3),)),
        Story("writes-hang", (hold,), _release_after(hold, 25.0)),
        Story("answers-late", (Late(2.0),)),
        Story("events-late", (LateEvents(3.0),)),
        Story("events-repeated", (RepeatedEvents(4, 3.0),)),
        Story("watch-410", (), _watches_end(410, 5.0)),
        Story("watch-500", (), _watches_end(500, 9.0)),
        Story("deletions-lost", (DropEvents(a_deletion),)),
        Story("silent", (DropEvents(),)),
        Story("stale-restart", (lists,), _restart_with_stale_lists(lists)),
    ]
