"""The engine's processes: start, terminate, kill and wait.

``Reaper`` collects every child that exits, as process 1 of a container must. ``EngineProcess`` is
one of them. ``launcher`` runs between this process and vLLM; its docstring says why.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence

from mistral_server.supervisor import process_tree
from mistral_server.supervisor.launcher import KILL_SECONDS, TRACKER_SECONDS

VLLM = (sys.executable, "-m", "vllm.entrypoints.cli.main", "serve")
"""Runs the vLLM of this interpreter's environment; PATH is not searched."""


class Reaper:
    """Reaps exited children while the event loop runs.

    asyncio's own subprocesses wait for one process each. Orphans are reparented to process 1 or to
    a subreaper, and would stay zombies.
    """

    def __init__(self) -> None:
        self._futures: dict[int, asyncio.Future[int]] = {}
        self._loop = asyncio.get_running_loop()
        process_tree.become_subreaper()
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap)

    def exit_code_of(self, pid: int) -> asyncio.Future[int]:
        """Return a future of the exit code of a child started in this iteration of the loop."""
        return self._futures.setdefault(pid, self._loop.create_future())

    def close(self) -> None:
        """Stop reaping."""
        self._loop.remove_signal_handler(signal.SIGCHLD)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (future := self._futures.pop(pid, None)) and not future.done():
                future.set_result(os.waitstatus_to_exitcode(status))


class EngineProcess:
    """A running ``vllm serve`` and all its descendants.

    Attributes:
        output: File descriptor of its standard output and error. The caller closes it.
        pid: The launcher's process id.
    """

    def __init__(self, reaper: Reaper, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        lifeline, writer = os.pipe()
        self._lifeline: int | None = writer
        self.output, output = os.pipe()
        try:
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-m", "mistral_server.supervisor.launcher", *VLLM, *arguments],
                env,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, lifeline, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                    (os.POSIX_SPAWN_DUP2, output, 2),
                ],
                setsid=True,
                setsigmask=(),
            )
        finally:
            os.close(lifeline)
            os.close(output)
        self._status = reaper.exit_code_of(self.pid)

    async def exited(self) -> int:
        """Wait for all processes and return vLLM's exit code, negative for a signal."""
        status = await asyncio.shield(self._status)
        await self._kill_orphans()
        return 128 - status if status > 128 else status

    def terminate(self) -> None:
        """Send SIGTERM, on which vLLM drains and exits."""
        if not self._status.done():
            os.kill(self.pid, signal.SIGTERM)

    async def kill(self) -> None:
        """Kill every process of the engine and wait until they have exited."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        try:
            await asyncio.wait_for(asyncio.shield(self._status), TRACKER_SECONDS + 1)
        except TimeoutError:
            process_tree.kill([self.pid])
        await self.exited()

    async def _kill_orphans(self) -> None:
        """Kill the orphans of a killed launcher, which are now children of this process."""
        deadline = time.monotonic() + KILL_SECONDS
        while (remaining := process_tree.descendants(os.getpid())) and time.monotonic() < deadline:
            process_tree.kill(remaining)
            await asyncio.sleep(0.02)
