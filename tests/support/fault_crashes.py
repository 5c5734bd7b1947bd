"""Kills the operator at every write of an operation; what its successor makes of it."""

from dataclasses import dataclass, field

from fault_lane import EndState, Lane
from fault_operations import Operation
from fault_proxy_requests import KillAt


@dataclass
class Crashes:
    """The outcomes of one operation.

    Args:
        operation: which.
    """

    operation: Operation
    writes: list[str] = field(default_factory=list)
    """The writes of the reference."""
    kills: int = 0
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return a row of the table."""
        points = 2 * len(self.writes)
        return (
            f"{self.operation.name:<16} writes {len(self.writes):2}  kills {self.kills:2} of"
            f" {points:2}  differences {len(self.failures)}"
        )

    async def play(self, lane: Lane, points: slice, quiet_seconds: float) -> None:
        """Play the operation without a kill, then with one before and after each write.

        Args:
            lane: where it is played.
            points: which of the kills.
            quiet_seconds: nothing may be written for as long when all is done.
        """
        reference = await _played(lane, self.operation)
        self.writes = [str(one) for one in lane.proxy.writes]
        await self._check("reference", lane, reference, reference, quiet_seconds)
        every = [
            (write, after) for write in range(1, len(self.writes) + 1) for after in (False, True)
        ]
        for write, after in every[points]:
            kill = KillAt(write, lane.operator.kill, after_it=after)
            lane.operator.exits.clear()
            state = await _played(lane, self.operation, kill)
            self.kills += kill.done
            point = f"killed {'after' if after else 'before'} write {write}"
            if kill.done and lane.operator.exits != [-9]:
                self.failures.append(f"{point}: exits {lane.operator.exits}")
            await self._check(point, lane, state, reference, quiet_seconds)
        if lane.operator.tracebacks:
            self.failures.append(f"tracebacks in {lane.operator.log}")

    async def _check(
        self, point: str, lane: Lane, state: EndState, reference: EndState, seconds: float
    ) -> None:
        self.failures += [f"{point}: {one}" for one in state.differences(reference)]
        late = await lane.writes_within(seconds)
        self.failures += [f"{point}: {one} when all was done" for one in late]
        await lane.clear()


async def _played(lane: Lane, operation: Operation, kill: KillAt | None = None) -> EndState:
    await operation.prepare(lane)
    await lane.begin_with_revisions()
    with lane.proxy.fault(*([kill] if kill else [])):
        await operation.act(lane)
        await lane.settle(lambda: operation.done(lane))
    return await lane.end_state()
