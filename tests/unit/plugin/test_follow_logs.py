"""`kubectl msd logs --follow` prints lines while they are written, of all replicas."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from builders import NAME, NAMESPACE, Object, merged, ready_pod, resource_body
from fake_api_server import FakeApiServer
from fake_objects import ApiError
from mistral_operator.kube import kinds
from mistral_operator.kube.objects import Key
from mistral_operator.plugin.container_runs import runs
from mistral_operator.plugin.follow_logs import Follower
from mistral_operator.plugin.reader import PODS_AT_ONCE, Reader
from plugin_cluster import serving
from plugin_commands import forbidden, kubeconfig, run, started

LINE = "2026-03-01T11:00:0{}.000000000Z {}\n".format
RUNNING: Object = {"running": {}}
ENDED: Object = {"terminated": {"exitCode": 1}}
WAITING: Object = {"waiting": {"reason": "PodInitializing"}}


def log_of(pod: str) -> str:
    """Return the path of the log of a pod."""
    return f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/log"


def pod(name: str, state: Object = RUNNING, **status: Any) -> Object:
    """Return a pod with one container."""
    container = {"name": "server", "state": state, "restartCount": 0, **status}
    changes = {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "server"}]},
        "status": {"containerStatuses": [container], "initContainerStatuses": []},
    }
    return merged(ready_pod(), changes)


def cluster(*pods: Object) -> FakeApiServer:
    """Return an API server with an endpoint and its pods."""
    bodies = {one["metadata"]["name"]: (kinds.POD, one) for one in pods}
    return serving({"resource": (kinds.RESOURCE, resource_body()), **bodies})


def writes(*texts: str, then: Callable[[], None] = lambda: None) -> Any:
    """Return what writes a log that ends; and what happens at its end."""

    async def stream(_: dict[str, str]) -> AsyncIterator[str]:
        for text in texts:
            yield text
        then()

    return stream


class Following:
    """What is printed while logs are followed."""

    def __init__(self, server: FakeApiServer, lines: int = 5, *, timestamps: bool = False) -> None:
        self.server = server
        self.lines = lines
        self.timestamps = timestamps
        self.printed: list[str] = []
        self.notes: list[str] = []

    async def until(self, number: int) -> None:
        """Follow until so many lines were printed."""
        enough = asyncio.Event()

        def echo(line: str) -> None:
            self.printed.append(line)
            if len(self.printed) >= number:
                enough.set()

        async with asyncio.timeout(20), self.server.cluster() as made:
            task = asyncio.create_task(self._follow(Reader(made), echo))
            waiting = asyncio.create_task(enough.wait())
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not task.cancel():
                await task
            await asyncio.gather(task, return_exceptions=True)

    async def to_the_end(self) -> bool:
        """Follow until there is nothing to wait for; return whether a log could be read."""
        async with asyncio.timeout(20), self.server.cluster() as made:
            return await self._follow(Reader(made), self.printed.append)

    async def _follow(self, reader: Reader, echo: Callable[[str], None]) -> bool:
        follower = Follower(
            reader,
            Key(NAMESPACE, NAME),
            lines=self.lines,
            timestamps=self.timestamps,
            echo=echo,
            echo_note=self.notes.append,
        )
        return await follower.follow()


def deleted(server: FakeApiServer) -> Callable[[], None]:
    """Return what deletes the endpoint and its pods."""

    def delete() -> None:
        for body in [*server.objects.all(kinds.POD)]:
            server.objects.remove(kinds.POD, Key(NAMESPACE, body["metadata"]["name"]))
        server.objects.remove(kinds.RESOURCE, Key(NAMESPACE, NAME))

    return delete


async def test_lines_of_all_replicas_have_the_name_of_their_pod() -> None:
    server = cluster(pod("a"), pod("b"))
    server.streams = {
        log_of("a"): writes(LINE(1, "one"), LINE(2, "two\x1b[31m")),
        log_of("b"): writes(LINE(1, "three")),
    }
    following = Following(server)

    await following.until(3)

    assert sorted(following.printed) == ["a/server one", "a/server two", "b/server three"]


async def test_following_ends_once_the_endpoint_is_deleted() -> None:
    server = cluster(pod("a"))
    end = "2026-03-01T11:00:02.0Z no end"
    server.streams = {log_of("a"): writes(LINE(1, "one"), end, then=deleted(server))}
    following = Following(server, timestamps=True)

    assert await following.to_the_end()
    assert following.printed == [
        "a/server 2026-03-01T11:00:01.000000000Z one",
        "a/server 2026-03-01T11:00:02.0Z no end",
    ]
    assert following.notes == []


async def test_a_stream_that_breaks_is_resumed_without_a_line_twice() -> None:
    server, queries = cluster(pod("a")), list[dict[str, str]]()

    async def stream(query: dict[str, str]) -> AsyncIterator[str]:
        queries.append(query)
        yield LINE(1, "one") + LINE(2, "two")
        if len(queries) == 2:
            yield LINE(3, "three")

    server.streams = {log_of("a"): stream}
    following = Following(server, lines=7)

    await following.until(3)

    assert following.printed == ["a/server one", "a/server two", "a/server three"]
    assert queries[0]["tailLines"] == "7"
    assert queries[1]["sinceTime"] == "2026-03-01T11:00:02.000000000Z"


async def test_lines_of_a_restarted_container_come_once() -> None:
    server, queries = cluster(pod("a")), list[dict[str, str]]()

    def restart() -> None:
        server.objects.update(
            *(kinds.POD, Key(NAMESPACE, "a"), lambda one: merged(one, pod("a", restartCount=1))),
            status=True,
        )

    async def stream(query: dict[str, str]) -> AsyncIterator[str]:
        queries.append(query)
        if len(queries) == 1:
            yield LINE(1, "one")
            return
        # The new run has begun, and the pod does not say so before its first line was read.
        yield LINE(2, "two")
        restart()
        if len(queries) > 2:
            yield LINE(3, "three")

    server.streams = {log_of("a"): stream}
    following = Following(server)

    await following.until(3)

    assert following.printed == ["a/server one", "a/server two", "a/server three"]


async def test_pods_that_start_later_are_followed_from_their_first_line() -> None:
    server, queries = cluster(pod("a", WAITING)), list[dict[str, str]]()

    async def stream(query: dict[str, str]) -> AsyncIterator[str]:
        queries.append(query)
        yield LINE(1, "one")

    def start(path: str) -> ApiError | None:
        if path.endswith(f"/{NAME}") and len([*server.objects.all(kinds.POD)]) == 1:
            server.objects.create(kinds.POD, pod("b"))
        return None

    server.streams = {log_of("b"): stream}
    server.before_read = start
    following = Following(server)

    await following.until(1)

    assert following.printed == ["b/server one"]


async def test_more_logs_than_can_be_followed_are_noted() -> None:
    names = [f"a{number}" for number in range(PODS_AT_ONCE + 1)]
    server = cluster(*(pod(name) for name in names))

    async def stream(_: dict[str, str]) -> AsyncIterator[str]:
        yield LINE(1, "one")
        await asyncio.Event().wait()

    server.streams = {log_of(name): stream for name in names}
    following = Following(server)

    await following.until(PODS_AT_ONCE)

    assert len({line.split("/")[0] for line in following.printed}) == PODS_AT_ONCE
    assert following.notes == [f"only {PODS_AT_ONCE} logs are followed at once"]


async def test_without_the_right_nothing_is_followed() -> None:
    server = cluster(pod("a"), pod("b"))
    server.before_read = lambda path: forbidden("get", "log") if path.endswith("/log") else None
    following = Following(server)

    assert not await following.to_the_end()
    assert following.notes == [
        "cannot get pods/log in namespace models: ask an administrator to allow it"
    ]


async def test_without_the_pods_nothing_is_followed() -> None:
    server = cluster(pod("a"))
    server.before_read = lambda path: forbidden("list", "p") if path.endswith("/pods") else None
    following = Following(server)

    assert not await following.to_the_end()
    assert following.notes == [
        "cannot list pods in namespace models: ask an administrator to allow it"
    ]


async def test_a_line_without_an_end_is_cut() -> None:
    server = cluster(pod("a"))
    server.streams = {log_of("a"): writes(*(40 * ["x" * 100_000]), f"\n{LINE(1, 'one')}")}
    following = Following(server)

    await following.until(2)

    assert len(following.printed[0]) == len("a/server ") + 1024 * 1024
    assert following.printed[1] == "a/server one"


STATES: dict[str, tuple[Object, dict[str, Any], bool | None]] = {
    "running": (RUNNING, {}, True),
    "ended": (ENDED, {}, False),
    "not started": (WAITING, {}, None),
    "between two runs": (WAITING, {"lastState": ENDED, "restartCount": 3}, False),
    "in its second run": (RUNNING, {"lastState": ENDED, "restartCount": 1}, True),
}


@pytest.mark.parametrize("case", STATES.values(), ids=STATES)
def test_what_was_started_has_a_log(case: tuple[Object, dict[str, Any], bool | None]) -> None:
    state, status, running = case

    result = runs([pod("a", state, **status)])

    assert [*result.values()] == ([] if running is None else [running])
    assert {one.number for one in result} <= {status.get("restartCount", 0)}


def test_what_has_ended_cannot_be_followed(tmp_path: Path) -> None:
    result = run(cluster(pod("a")), tmp_path, "logs", NAME, "-f", "-p")

    assert result.exit_code == 2
    assert "remove -f or -p" in result.stderr


def test_following_without_a_right_is_a_failure(tmp_path: Path) -> None:
    server = cluster(pod("a"))
    server.before_read = lambda path: forbidden("get", "log") if path.endswith("/log") else None

    result = run(server, tmp_path, "logs", NAME, "-f")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("not shown: cannot get pods/log")


def test_ctrl_c_ends_it_as_it_ends_kubectl(tmp_path: Path) -> None:
    server = cluster(pod("a"))

    async def stream(_: dict[str, str]) -> AsyncIterator[str]:
        yield LINE(1, "one")
        await asyncio.Event().wait()

    server.streams = {log_of("a"): stream}
    with kubeconfig(server, tmp_path) as path, started(path, "logs", NAME, "-f") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "a/server one\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)

    assert (process.returncode, errors) == (130, "")


def test_a_reader_that_has_enough_ends_it(tmp_path: Path) -> None:
    server = cluster(pod("a"))

    async def stream(_: dict[str, str]) -> AsyncIterator[str]:
        while True:
            yield LINE(1, "one")
            await asyncio.sleep(0.01)

    server.streams = {log_of("a"): stream}
    with kubeconfig(server, tmp_path) as path, started(path, "logs", NAME, "-f") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=20) == 1
