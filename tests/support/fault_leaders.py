"""What happens to a leader, round after round, and what it then wrote."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from fault_api import until
from fault_pair import DoubleWrite, Pair, double_writes
from fault_proxy_requests import Hold, of_the_lease
from fault_proxy_watches import DropEvents
from mistral_dev.errors import DevError

FAULT_SECONDS = 25.0
"""Twice the Lease's duration."""
LONGEST_SECONDS = 30.0
"""How long the next action is waited for; what is too late is measured, and fails the test."""
AFTERWARDS_SECONDS = 5.0
"""How long a leader that is back is watched."""

Fault = Callable[[Pair, str, str], Awaitable[float]]
"""Happens to a pair whose leader and standby replica are named. Returns the time from which on a
replica should act."""


@dataclass
class Rounds:
    """The outcomes of one fault.

    Args:
        name: for test ids and tables.
        fault: what happens.
        takes_over: whether the standby replica has to take over.
        clocks: seconds by which the wall clocks of the two replicas are ahead.
    """

    name: str
    fault: Fault
    takes_over: bool = True
    clocks: dict[str, float] = field(default_factory=dict)
    played: int = 0
    doubles: list[DoubleWrite] = field(default_factory=list)
    next_action: list[float] = field(default_factory=list)
    """Seconds from the fault to the successor's first write, one a round."""
    exits: int = 0
    tracebacks: int = 0
    failures: list[str] = field(default_factory=list)

    async def play(self, pair: Pair, rounds: int) -> None:
        """Play rounds with one pair."""
        for number in range(1, rounds + 1):
            leader, standby = await pair.until_led()
            await asyncio.sleep(2)
            pair.begin()
            started = await self.fault(pair, leader, standby)
            successor = standby if self.takes_over else leader
            with suppress(DevError):
                await _until_acted(pair, successor, started, LONGEST_SECONDS)
            await asyncio.sleep(AFTERWARDS_SECONDS)
            writes = await pair.writes()
            self.played += 1
            self.doubles += double_writes(writes)
            self.exits += sum(len(pair.exits(one)) for one in (leader, standby))
            acted = await pair.acted(successor, started)
            if acted is None:
                self.failures.append(f"round {number}: {successor} never acted")
            else:
                self.next_action.append(acted)
            if not self.takes_over and any(one.by == standby for one in writes):
                self.failures.append(f"round {number}: {standby} took over without a reason")
        self.tracebacks = pair.tracebacks

    def __str__(self) -> str:
        """Return a row of the table."""
        latest = max((one.seconds for one in self.doubles), default=0.0)
        slowest = max(self.next_action, default=float("nan"))
        return (
            f"{self.name:<22} rounds {self.played:3}  double writes {len(self.doubles):3}"
            f" (latest {latest:.2f} s)  next action {min(self.next_action, default=slowest):.1f}"
            f" to {slowest:.1f} s  exits {self.exits}  tracebacks {self.tracebacks}"
        )


async def freeze(pair: Pair, leader: str, standby: str) -> float:
    """Stop the process until the other one acts, and 3 s more."""
    started = time.time()
    pair.replicas[leader].signal(signal.SIGSTOP)
    await _until_acted(pair, standby, started)
    await asyncio.sleep(3)
    pair.replicas[leader].signal(signal.SIGCONT)
    return started


async def lease_requests_hang(pair: Pair, leader: str, standby: str) -> float:
    """Hold the requests about the Lease; everything else passes."""
    started, held = time.time(), Hold(of_the_lease, arrive=False)
    with pair.replicas[leader].proxy.fault(held):
        await asyncio.sleep(FAULT_SECONDS)
    held.release()
    return started


async def partition(pair: Pair, leader: str, standby: str) -> float:
    """Hold every request and every watch event."""
    started, held = time.time(), Hold(lambda exchange: True, arrive=False)
    with pair.replicas[leader].proxy.fault(held, DropEvents()):
        await asyncio.sleep(FAULT_SECONDS)
    held.release()
    return started


async def refuse(pair: Pair, leader: str, standby: str) -> float:
    """Refuse the leader's connections."""
    started = time.time()
    await pair.replicas[leader].proxy.refuse()
    await asyncio.sleep(FAULT_SECONDS)
    await pair.replicas[leader].proxy.accept()
    return started


async def refuse_both(pair: Pair, leader: str, standby: str) -> float:
    """Refuse the connections of both: to them the API server is away."""
    proxies = [one.proxy for one in pair.replicas.values()]
    await asyncio.gather(*(one.refuse() for one in proxies))
    await asyncio.sleep(FAULT_SECONDS)
    await asyncio.gather(*(one.accept() for one in proxies))
    return time.time()


async def kill(pair: Pair, leader: str, standby: str) -> float:
    """Kill the process; it starts anew after 30 s only."""
    started = time.time()
    pair.replicas[leader].restart_seconds = 30.0
    pair.replicas[leader].kill()
    await asyncio.sleep(FAULT_SECONDS)
    await until(lambda: _acts_not(pair, leader), "the killed replica to be back", 60)
    pair.replicas[leader].restart_seconds = 2.0
    return started


async def nothing(pair: Pair, leader: str, standby: str) -> float:
    """Leave a healthy leader alone, for longer than its Lease lasts."""
    started = time.time()
    await asyncio.sleep(FAULT_SECONDS)
    return started


async def _until_acted(pair: Pair, name: str, since: float, seconds: float = 60) -> None:
    async def acted() -> bool:
        return await pair.acted(name, since) is not None

    await until(acted, f"{name} to act", seconds)


async def _acts_not(pair: Pair, name: str) -> bool:
    return "mistral_operator_leader 0.0" in await pair.replicas[name].metrics()


def all_rounds() -> list[Rounds]:
    """Return every fault, not played yet."""
    return [
        Rounds("frozen", freeze),
        Rounds("lease-requests-hang", lease_requests_hang),
        Rounds("partition", partition),
        Rounds("refused", refuse),
        Rounds("killed", kill),
        Rounds("both-refused", refuse_both, takes_over=False),
        Rounds("clocks", nothing, takes_over=False, clocks={"first": 60, "second": -60}),
        Rounds("clocks-frozen", freeze, clocks={"first": -60, "second": 60}),
    ]
