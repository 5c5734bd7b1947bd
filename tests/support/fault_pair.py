"""Two operators that elect a leader, each behind a fault proxy, and their writes."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from fault_api import Api, Refused, until
from fault_operator import OperatorUnderFaults
from fault_proxy import FaultProxy
from mistral_operator.kube import kinds, names
from mistral_operator.kube.kinds import Kind

log = logging.getLogger(__name__)

LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
RESOURCES = ("a", "b", "c")
TOLERANCE_SECONDS = 0.05
"""A write may have been on its way when the other replica took the Lease."""
_MUTATING = {"create", "update", "patch", "delete"}

_SHIFTED = """import time
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + {seconds}
time.time_ns = lambda: _time_ns() + {seconds} * 10**9
"""


@dataclass(frozen=True)
class Write:
    """One accepted write, from its audit log."""

    at: float
    by: str
    kind: str


@dataclass(frozen=True)
class DoubleWrite:
    """A write that was taken from a replica after the other one had taken the Lease."""

    write: Write
    seconds: float


@dataclass
class Pair:
    """Two operators that may lead a namespace."""

    api: Api
    namespace: str
    replicas: dict[str, OperatorUnderFaults] = field(default_factory=dict)
    audit_start: int = 0

    async def holder(self) -> str | None:
        """Return the name of the leader."""
        lease = await self.api.get(LEASE, self.namespace, names.LEASE)
        return None if lease is None else lease["spec"].get("holderIdentity") or None

    async def until_led(self, seconds: float = 60) -> tuple[str, str]:
        """Wait for a leader that acts and a standby replica; return their names."""

        async def led() -> bool:
            holder = await self.holder()
            if holder is None:
                return False
            standby = self._other(holder)
            states = [
                await self.replicas[one].metric("mistral_operator_leader")
                for one in (holder, standby)
            ]
            waits = "mistral_operator_leader" in await self.replicas[standby].metrics()
            return states == [1.0, 0.0] and waits

        await until(led, f"a leader of {self.namespace}", seconds)
        holder = await self.holder()
        assert holder is not None
        return holder, self._other(holder)

    def begin(self) -> None:
        """Look at the audit log from here on."""
        self.audit_start = self.api.cluster.audit_position()
        for replica in self.replicas.values():
            replica.exits.clear()

    def exits(self, name: str) -> list[int]:
        """Return the exit codes of a replica since `begin`."""
        return self.replicas[name].exits

    async def writes(self) -> list[Write]:
        """Return the accepted writes of both since `begin`, in order."""
        return await asyncio.to_thread(lambda: sorted(self._writes(), key=lambda one: one.at))

    async def acted(self, name: str, since: float) -> float | None:
        """Return how long after a time a replica first wrote, None if it has not."""
        times = [
            one.at
            for one in await self.writes()
            if one.by == name and one.kind != LEASE.plural and one.at > since
        ]
        return times[0] - since if times else None

    @property
    def tracebacks(self) -> int:
        """Number of tracebacks in both logs."""
        return sum(one.tracebacks for one in self.replicas.values())

    async def create(self) -> None:
        """Create every resource that does not exist."""
        for name in RESOURCES:
            if await self.api.get(kinds.RESOURCE, self.namespace, name) is not None:
                continue
            body = {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "metadata": {"name": name},
                "spec": {"suspend": True},  # no pods: only the operator's own work
            }
            await self.api.create(kinds.RESOURCE, self.namespace, body)

    async def edit(self, number: int) -> None:
        """Edit every resource."""
        spec = {"spec": {"drainSeconds": 60 + number % 500}}
        for name in RESOURCES:
            await self.api.merge(kinds.RESOURCE, self.namespace, name, spec)

    async def edit_forever(self) -> None:
        """Edit every resource once a second."""
        number = 0
        while True:
            number += 1
            try:
                await self.edit(number)
            except (Refused, aiohttp.ClientError, TimeoutError) as error:
                # Without edits no replica has anything to do, which would look like its failure.
                log.warning("%s: edit %d was not accepted: %s", self.namespace, number, error)
            await asyncio.sleep(1)

    def _other(self, name: str) -> str:
        return next(one for one in self.replicas if one != name)

    def _writes(self) -> Iterator[Write]:
        agents = {one.proxy.name: name for name, one in self.replicas.items()}
        for event in self.api.cluster.audit_events(self.audit_start):
            by = agents.get(event.get("userAgent", ""))
            taken = event["verb"] in _MUTATING and event["responseStatus"]["code"] < 300
            if by is not None and taken:
                yield Write(_seconds(event), by, event["objectRef"]["resource"])


def double_writes(writes: list[Write]) -> list[DoubleWrite]:
    """Return the writes of a replica that came after the other one had taken the Lease."""
    holder, since, doubles = None, 0.0, []
    for one in writes:
        if one.kind == LEASE.plural:
            if one.by != holder:
                holder, since = one.by, one.at
        elif holder not in (None, one.by) and one.at - since > TOLERANCE_SECONDS:
            doubles.append(DoubleWrite(one, one.at - since))
    return doubles


def _seconds(event: dict[str, Any]) -> float:
    # When the API server had carried it out.
    return datetime.fromisoformat(event["stageTimestamp"]).timestamp()


def shifted_clock(directory: Path, seconds: float) -> dict[str, str]:
    """Return the environment in which Python's wall clock is ahead."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "sitecustomize.py").write_text(_SHIFTED.format(seconds=int(seconds)))
    path = os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path}


@asynccontextmanager
async def pair(
    api: Api,
    namespace: str,
    directory: Path,
    environment: dict[str, dict[str, str]] | None = None,
    *,
    edits: bool = True,
) -> AsyncIterator[Pair]:
    """Create a namespace with resources, and run two operators.

    Args:
        api: whose cluster.
        namespace: of the resources and of the Lease.
        directory: for logs and kubeconfigs.
        environment: variables of the operators, by name.
        edits: edit every resource once a second.
    """
    await api.create_namespace(namespace)
    made = Pair(api, namespace)
    await made.create()
    async with AsyncExitStack() as stack:
        for name in ("first", "second"):
            proxy = FaultProxy(api.cluster, f"{namespace}-{name}", directory)
            await stack.enter_async_context(proxy)
            settings = {
                "NAMESPACES": namespace,
                "NAMESPACE": namespace,
                "IDENTITY": name,
                "LEADER_ELECTION": "true",
            }
            log = directory / f"{namespace}-{name}.log"
            own = (environment or {}).get(name, {})
            made.replicas[name] = await stack.enter_async_context(
                OperatorUnderFaults(proxy, log, settings, own, restart_seconds=2.0)
            )
        await made.until_led()
        if not edits:
            yield made
            return
        editing = asyncio.create_task(made.edit_forever())
        try:
            yield made
        finally:
            editing.cancel()
            with suppress(asyncio.CancelledError):
                await editing
