"""Follows the logs of all replicas of an endpoint, also of those that start later."""

import asyncio
from collections.abc import Callable

from mistral_operator.kube.errors import ClusterError
from mistral_operator.kube.kinds import POD, RESOURCE
from mistral_operator.kube.objects import Key
from mistral_operator.kube.transport import Stream
from mistral_operator.plugin.container_runs import Run, runs
from mistral_operator.plugin.logs import split_line
from mistral_operator.plugin.read_endpoint import pods_of, resource_of
from mistral_operator.plugin.reader import PODS_AT_ONCE, Reader
from mistral_server.contract.lenient import printable

_POLL_SECONDS = 2.0
"""How often new pods and restarted containers are looked for."""
_FORBIDDEN = 403
_LOG = Stream(accept="*/*", silent_seconds=None, longest=1024 * 1024)
"""A log may be silent for days, and its containers choose how long a line is."""


class Follower:
    """Prints lines while they are written.

    Args:
        reader: of the cluster.
        key: of the endpoint.
        lines: maximum lines of each log from before; -1 for all.
        timestamps: keep the timestamps.
        echo: prints a line.
        echo_note: prints what cannot be read.
    """

    def __init__(
        self,
        reader: Reader,
        key: Key,
        *,
        lines: int,
        timestamps: bool,
        echo: Callable[[str], None],
        echo_note: Callable[[str], None],
    ) -> None:
        self._reader = reader
        self._key = key
        self._lines = lines
        self._timestamps = timestamps
        self._echo = echo
        self._echo_note = echo_note
        self._last: dict[tuple[str, str], str] = {}
        """Time of the last line of each container whose log was read."""
        self._closed: set[Run] = set()
        """Logs that have ended, or that may not be read."""
        self._tasks: dict[Run, asyncio.Task[None]] = {}
        self._noted = 0

    async def follow(self) -> bool:
        """Print lines until the endpoint is deleted; return whether any log could be read.

        Raises:
            EndpointMissing: there is no such resource.
            OSError: a line cannot be printed.
        """
        await resource_of(self._reader, self._key)
        lines = self._lines
        try:
            while await self._open(lines):
                lines = -1  # those that start from now on are shown from their first line
                await self._wait()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._echo_notes()
        return bool(self._last)

    async def _open(self, lines: int) -> bool:
        """Follow what is not followed yet; return False if there is nothing to wait for."""
        pods = await pods_of(self._reader, self._key)
        for run, running in runs(pods or ()).items():
            if run in self._tasks or run in self._closed:
                continue
            if len(self._tasks) >= PODS_AT_ONCE:
                self._reader.note(f"only {PODS_AT_ONCE} logs are followed at once")
                break
            self._tasks[run] = asyncio.create_task(self._follow(run, lines, running=running))
        self._echo_notes()
        if self._tasks:
            return True
        if not self._last and (pods is None or self._closed):
            return False
        name = self._key.name
        resource, unread = await self._reader.find(RESOURCE, self._key.namespace, name)
        return resource is not None or bool(unread)

    async def _wait(self) -> None:
        """Wait until it is time to look again, and forget the streams that have ended."""
        deadline = asyncio.get_running_loop().time() + _POLL_SECONDS
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=_POLL_SECONDS)
        ended = [run for run, task in self._tasks.items() if task.done()]
        if not self._closed.issuperset(ended) or not ended:
            await asyncio.sleep(deadline - asyncio.get_running_loop().time())
        for run in ended:
            self._tasks.pop(run).result()

    async def _follow(self, run: Run, lines: int, *, running: bool) -> None:
        path = POD.path(self._key.namespace, run.pod, "log")
        query = {"container": run.container, "follow": "true", "timestamps": "true"}
        since = self._last.get(run.source, "")
        if since:
            query["sinceTime"] = since  # in seconds: some lines come again
        elif lines >= 0:
            query["tailLines"] = str(lines)
        broken = list[OSError]()

        def on_line(line: bytes) -> None:
            try:
                self._show(run, line.decode(errors="replace"), since)
            except OSError as error:  # to the transport it would look like one of the connection
                broken.append(error)
                raise

        try:
            await self._reader.cluster.follow(path, query, on_line, _LOG)
        except ClusterError as error:
            unread = self._reader.excuse_log(error, self._key.namespace, run.log) is None
            if unread and error.status == _FORBIDDEN:
                self._closed.add(run)
            return
        if broken:
            raise broken[0]
        self._last.setdefault(run.source, "")
        if not running:
            self._closed.add(run)

    def _show(self, run: Run, line: str, since: str) -> None:
        time, text = split_line(line)
        if time and time <= since:
            return
        self._last[run.source] = time or self._last.get(run.source, "")
        shown = f"{time} " if self._timestamps and time else ""
        self._echo(f"{run.log} {shown}{printable(text)}")

    def _echo_notes(self) -> None:
        notes = self._reader.notes
        for note in notes[self._noted :]:
            self._echo_note(note)
        self._noted = len(notes)
