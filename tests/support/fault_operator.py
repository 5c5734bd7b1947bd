"""An operator behind a fault proxy, restarted when it exits, as its Deployment would."""

import asyncio
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Self, cast

import aiohttp

from fault_api import until
from fault_proxy import FaultProxy
from mistral_dev.cluster import Cluster
from operator_process import OperatorProcess

ACTING_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_RESYNCED = "mistral_operator_last_resync_timestamp_seconds"


@dataclass
class OperatorUnderFaults:
    """One operator process; use it as a context manager.

    Args:
        proxy: the way to the API server.
        log: where its output goes.
        settings: what differs from the settings of `OperatorProcess`.
        environment: variables besides its settings.
        restart_seconds: how long after an exit it is started again.
    """

    proxy: FaultProxy
    log: Path
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    restart_seconds: float = 0.0
    exits: list[int] = field(default_factory=list)
    """Exit codes since the start."""
    _acting_since: float | None = None

    async def __aenter__(self) -> Self:
        """Start it."""
        # An OperatorProcess asks its cluster for nothing but the kubeconfig.
        cluster = cast("Cluster", SimpleNamespace(kubeconfig=self.proxy.kubeconfig))
        self._operator = OperatorProcess(cluster, self.log, self.settings, self.environment)
        self._operator.start()
        self._supervision = asyncio.create_task(self._supervise())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it for good."""
        self._supervision.cancel()
        with suppress(asyncio.CancelledError):
            await self._supervision
        if self._operator.process is not None:
            self._operator.process.kill()
            await asyncio.to_thread(self._operator.process.wait)

    @property
    def port(self) -> int:
        """The port of its metrics."""
        return self._operator.port

    @property
    def tracebacks(self) -> int:
        """How many tracebacks stand in its log."""
        return self.log.read_text().count("Traceback (most recent call last)")

    def kill(self) -> None:
        """Kill the process."""
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self._operator.process is not None
        self._operator.process.send_signal(number)

    async def until_acting(self, seconds: float = ACTING_SECONDS) -> None:
        """Wait until the present process has listed everything and reconciles."""
        await until(self._acts, f"the operator to act; its log is {self.log}", seconds)

    async def metrics(self) -> str:
        """Return what it shows at /metrics, nothing while it does not answer."""
        timeout = aiohttp.ClientTimeout(total=2)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"http://127.0.0.1:{self.port}/metrics") as response,
            ):
                return await response.text()
        except (aiohttp.ClientError, TimeoutError):
            return ""

    async def metric(self, name: str) -> float:
        """Return a metric without labels, 0 while the operator does not answer."""
        lines = (await self.metrics()).splitlines()
        return next((float(one.split()[1]) for one in lines if one.startswith(f"{name} ")), 0.0)

    async def acting_seconds(self) -> float:
        """Return for how long the present process has been seen to reconcile."""
        if not await self._acts():
            self._acting_since = None
        elif self._acting_since is None:
            self._acting_since = time.monotonic()
        return time.monotonic() - (self._acting_since or time.monotonic())

    async def _acts(self) -> bool:
        return await self.metric(_RESYNCED) > 0

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            process = self._operator.process
            if process is None or (code := process.poll()) is None:
                continue
            self.exits.append(code)
            self._acting_since = None
            await asyncio.sleep(self.restart_seconds)
            self._operator.start()
