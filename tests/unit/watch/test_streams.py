"""Watches of the operator's own: what they report, and what they do when they fail."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from builders import pod_body
from mistral_operator.kube import kinds, transport
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import Unavailable
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Body, Key, key_of
from mistral_operator.watch import streams
from mistral_operator.watch.resync import Resync
from mistral_operator.watch.streams import run_streams

Object = dict[str, Any]
SELECTORS: dict[Kind, str | None] = {kinds.POD: "a=b"}


def pod(name: str, version: int, **more: object) -> Object:
    """Return a pod of a version."""
    body = pod_body()
    metadata = {**body["metadata"], "name": name, "resourceVersion": str(version), **more}
    return {**body, "metadata": metadata}


def event(kind: str, body: Object) -> bytes:
    """Return one line of a watch."""
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


def bookmark(version: int) -> bytes:
    """Return a bookmark."""
    return event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": str(version)}})


def failure(code: int, message: str = "no") -> bytes:
    """Return an event with which the API server ends a watch."""
    return event("ERROR", {"kind": "Status", "code": code, "message": message})


@dataclass
class Server:
    """An API server with one list, and watches one after the other."""

    listed: list[Object] = field(default_factory=list)
    version: int = 10
    watches: list[tuple[bytes, ...] | int] = field(default_factory=list)
    """The chunks of each watch, or the status that refuses it; the last watch stays open."""
    lists: int = 0
    queries: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            self.lists += 1
            metadata = {"resourceVersion": str(self.version)}
            return web.json_response({"items": self.listed, "metadata": metadata})
        self.queries.append(dict(request.query))
        self.paths.append(request.path)
        watch = self.watches.pop(0) if self.watches else ()
        if isinstance(watch, int):
            return web.json_response({"kind": "Status", "message": "not now"}, status=watch)
        answer = web.StreamResponse()
        await answer.prepare(request)
        for chunk in watch:
            await answer.write(chunk)
            await asyncio.sleep(0.01)
        if not self.watches:
            await asyncio.sleep(60)
        return answer


@dataclass
class Recorder:
    """A sink that records what it receives."""

    events: list[tuple[str, bool]] = field(default_factory=list)
    replaced: list[set[Key]] = field(default_factory=list)

    def on_event(self, kind: Kind, body: Body, *, deleted: bool) -> None:
        if body["metadata"]["name"] == "poison":
            raise KeyError("poison")
        self.events.append((body["metadata"]["name"], deleted))

    def replace(
        self, kind: Kind, listed: set[Key], as_of: int, namespace: str | None = None
    ) -> None:
        self.replaced.append(listed)


@asynccontextmanager
async def watching(
    server: Server, *namespaces: str, listed: bool = True
) -> AsyncIterator[Recorder]:
    """Watch the server's pods."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    sink = Recorder()
    async with TestServer(app) as test_server:
        client = ApiClient(Configuration(host=str(test_server.make_url("")).rstrip("/")))
        async with Cluster(client) as cluster:
            resync = Resync(cluster, sink, SELECTORS, namespaces)
            if listed:
                await resync.once()
            task = asyncio.create_task(run_streams(cluster, sink, resync, SELECTORS, namespaces))
            try:
                yield sink
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_SHORTEST_SECONDS", 0.0)
    monkeypatch.setattr(streams, "_REFUSED_SECONDS", 0.01)


async def until(condition: Any) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_events_reach_the_sink_in_their_order() -> None:
    lines = (
        event("ADDED", pod("a", 11)),
        event("MODIFIED", pod("a", 12)),
        event("DELETED", pod("a", 13)),
    )
    server = Server(watches=[(b"".join(lines),)])

    async with watching(server) as sink:
        await until(lambda: len(sink.events) == 3)

    assert sink.events == [("a", False), ("a", False), ("a", True)]
    assert server.queries[0]["resourceVersion"] == "10"
    assert server.queries[0]["labelSelector"] == "a=b"
    assert server.lists == 1, "the list of the start is not repeated"


async def test_an_event_may_arrive_in_any_pieces_and_be_larger_than_any_buffer() -> None:
    line = event("ADDED", pod("a", 11, annotations={"big": "x" * 1_000_000}))
    server = Server(watches=[(line[:1], line[1:70_000], line[70_000:])])

    async with watching(server) as sink:
        await until(lambda: sink.events == [("a", False)])


async def test_a_watch_continues_where_the_last_one_ended() -> None:
    server = Server(watches=[(event("ADDED", pod("a", 11)), bookmark(20)), ()])

    async with watching(server) as sink:
        await until(lambda: len(server.queries) == 2)

    assert server.queries[1]["resourceVersion"] == "20"
    assert sink.events == [("a", False)], "a bookmark is no object"
    assert server.lists == 1


@pytest.mark.parametrize("code", [410, 500])
async def test_what_a_failed_watch_lost_is_listed(code: int) -> None:
    server = Server(watches=[(failure(code),), ()])

    async with watching(server) as sink:
        server.listed, server.version = [pod("b", 30)], 31
        await until(lambda: len(server.queries) == 2)

    assert sink.events == [("b", False)]
    assert sink.replaced[-1] == {key_of(pod("b", 30))}
    assert server.queries[1]["resourceVersion"] == "31"


@pytest.mark.parametrize(("status", "lists"), [(403, 3), (404, 3), (429, 1), (500, 1)])
async def test_a_refused_watch_is_tried_again_and_after_a_list_if_it_may_have_lost_something(
    status: int, lists: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(watches=[status, status, (event("ADDED", pod("a", 40)),)])

    with caplog.at_level(logging.WARNING):
        async with watching(server) as sink:
            await until(lambda: sink.events == [("a", False)])

    assert server.lists == lists
    warnings = [one.getMessage() for one in caplog.records]
    assert len(warnings) == 1, "logged once"
    assert "GET /api/v1/pods: " in warnings[0]


async def test_an_object_that_cannot_be_handled_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = event("ADDED", pod("poison", 11)) + event("ADDED", pod("a", 12))
    server = Server(watches=[(lines,)])

    async with watching(server) as sink:
        await until(lambda: sink.events == [("a", False)])

    assert "poison" in caplog.text


async def test_each_namespace_has_a_watch() -> None:
    server = Server()

    async with watching(server, "one", "two"):
        await until(lambda: len(server.paths) == 2)

    assert sorted(server.paths) == [
        "/api/v1/namespaces/one/pods",
        "/api/v1/namespaces/two/pods",
    ]


async def test_a_kind_that_was_never_listed_is_listed_first() -> None:
    server = Server(listed=[pod("a", 9)])

    async with watching(server, listed=False) as sink:
        await until(lambda: len(server.queries) == 1)

    assert sink.events == [("a", False)]


@pytest.mark.parametrize(
    "line",
    [
        b"<html>\n",
        b"{}\n",
        b'{"type": "ADDED", "object": []}\n',
        b'{"type": "ADDED", "object": {"metadata": null}}\n',
        b'{"type": "ADDED", "object": {"metadata": {"name": "a"}}}\n',
        b'{"type": "ADDED", "object": {"metadata": {"resourceVersion": "x", "name": "a"}}}\n',
        b'{"type": "ADDED", "object": {"metadata": {"resourceVersion": "11"}}}\n',
        b'{"type": "ERROR", "object": {}}\n',
        b"\xff\xfe\n",
    ],
)
async def test_what_is_no_watch_is_a_failure_of_the_watch(line: bytes) -> None:
    server = Server(watches=[(line,), ()])

    async with watching(server) as sink:
        server.listed = [pod("b", 30)]
        await until(lambda: len(server.queries) == 2)

    assert sink.events == [("b", False)]


async def test_a_missing_right_is_named_also_after_another_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server(watches=[410, 403, 403, 403, ()])

    with caplog.at_level(logging.WARNING):
        async with watching(server):
            await until(lambda: len(server.queries) == 5)

    warnings = [one.getMessage() for one in caplog.records]
    assert len(warnings) == 1
    assert "403 not now" in warnings[0]


async def test_a_proxy_that_takes_the_connection_and_is_silent_ends_a_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "_CONNECT_SECONDS", 0.5)
    configuration = Configuration(host="https://10.0.0.1:6443")
    configuration.client_session_kwargs = {"trust_env": False}

    with socket.create_server(("127.0.0.1", 0)) as proxy:  # accepted by the kernel only
        configuration.proxy = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        async with Cluster(ApiClient(configuration)) as cluster:
            with pytest.raises(Unavailable):
                async with asyncio.timeout(4):
                    await cluster.watch(kinds.POD, None, None, 1, lambda event, version: None)
