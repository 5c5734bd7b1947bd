"""Replicas of the operator that elect a leader, with clocks that tests set forward."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from kubernetes.aio.leaderelection.electionconfig import Config

from lease_server import Clock, LeaseServer
from mistral_operator.kube.client import Cluster
from mistral_operator.process.leader_election import Election, MonotonicLease
from mistral_operator.process.settings import Settings

LEASE_SECONDS = 12
FENCE_SECONDS = 8.0
"""Two thirds of the Lease: how long a leader may write after a renewal was sent."""


@dataclass
class Replica:
    """One replica of the operator."""

    cluster: Cluster
    clock: Clock
    election: Election
    lock: MonotonicLease

    async def attempt(self) -> bool:
        """Try once to acquire or renew the Lease."""
        held: bool = await self.election.try_acquire_or_renew()
        return held

    @property
    def may_write(self) -> bool:
        """Whether the fence is open."""
        return self.cluster.fence.seconds_left > 0


async def idle() -> None:
    """Lead forever."""
    await asyncio.Event().wait()


def replica(name: str, cluster: Cluster, clock: Clock) -> Replica:
    """Return a replica that has not tried to acquire the Lease."""
    settings = Settings(identity=name, lease_seconds=LEASE_SECONDS)
    lock = MonotonicLease(cluster, settings, clock)
    cluster.fence.close()
    config = Config(lock, LEASE_SECONDS, FENCE_SECONDS, 1.0, idle, None)
    return Replica(cluster, clock, Election(config), lock)


@asynccontextmanager
async def two_replicas(server: LeaseServer) -> AsyncIterator[tuple[Replica, Replica]]:
    """Return two replicas with a clock each."""
    clocks = Clock(), Clock(5000.0)
    async with server.serving(*clocks) as clusters:
        first, second = (
            replica(name, cluster, clock)
            for name, cluster, clock in zip(("first", "second"), clusters, clocks, strict=True)
        )
        yield first, second


def pass_seconds(seconds: float, *replicas: Replica) -> None:
    """Let time pass for replicas."""
    for one in replicas:
        one.clock.now += seconds
