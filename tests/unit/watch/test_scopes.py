"""Kinds and namespaces that cannot be listed keep the others from nothing."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from builders import pod_body
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError, StorageRestored
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Key
from mistral_operator.watch.resync import Resync, Watcher
from mistral_operator.watch.store import Store
from mistral_operator.watch.streams import run_streams
from mistral_operator.watch.sweep import Sweep
from mistral_operator.watch.workqueue import WorkQueue

Handle = Callable[[web.Request], web.StreamResponse]
FORBIDDEN = {"kind": "Status", "message": "pods is forbidden", "reason": "Forbidden"}
LATEST = 10**9


def empty(version: int = LATEST) -> web.Response:
    """Return an empty list."""
    return web.json_response({"metadata": {"resourceVersion": str(version)}, "items": None})


@asynccontextmanager
async def connected(handle: Handle) -> AsyncIterator[Cluster]:
    """Connect to an API server that answers with a function."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return handle(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        configuration = Configuration(host=str(server.make_url("")).rstrip("/"))
        async with Cluster(ApiClient(configuration)) as cluster:
            yield cluster


class Watched:
    """A store with what keeps it up to date."""

    def __init__(self, cluster: Cluster, *watched: Kind, namespaces: tuple[str, ...] = ()) -> None:
        self.store = Store((*kinds.CHILD_KINDS, *kinds.OPTIONAL_KINDS))
        watcher = Watcher(self.store, WorkQueue[Key]())
        self.selectors = {one: kinds.selector_of(one) for one in watched}
        self.resync = Resync(cluster, watcher, self.selectors, namespaces)
        self.missing = 0
        self.sweep = Sweep(
            *(cluster, self.store, watcher, self.resync, self.selectors, namespaces),
            on_missing=self._count,
        )
        self.sweep.sleep = self._no_pause
        self.watcher = watcher

    def _count(self) -> None:
        self.missing += 1

    async def _no_pause(self, _: float) -> None: ...


@pytest.mark.parametrize("status", [404, 503])
async def test_a_kind_that_is_not_served_hides_no_lost_deletion_of_others(status: int) -> None:
    def handle(request: web.Request) -> web.StreamResponse:
        if "podmonitors" in request.path:
            return web.Response(status=status, text="404 page not found")
        return empty()

    async with connected(handle) as cluster:
        watched = Watched(cluster, kinds.POD_MONITOR, kinds.POD)
        watched.store.pods.put(pod_body())
        await watched.sweep.once()

    assert len(watched.store.pods) == 0
    assert watched.missing == (status == 404), "then the process looks whether its CRD was removed"


async def test_a_namespace_without_rights_is_left_out_until_it_has_them_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone = True

    def handle(request: web.Request) -> web.StreamResponse:
        if gone and "/namespaces/gone/" in request.path:
            return web.json_response(FORBIDDEN, status=403)
        return empty()

    async with connected(handle) as cluster:
        watched = Watched(cluster, kinds.POD, namespaces=("models", "gone"))
        here, there = pod_body(), pod_body()
        there = {**there, "metadata": {**there["metadata"], "namespace": "gone"}}
        for body in (here, there):
            watched.store.pods.put(body)
        with caplog.at_level(logging.WARNING):
            await watched.resync.once()
            await watched.sweep.once()

        assert [one.namespace for one in watched.store.pods.values()] == ["gone"]
        assert watched.resync.forbidden.namespaces(kinds.POD) == ("models",)
        assert caplog.text.count("namespace gone is left out") == 1

        gone = False
        await watched.sweep.once()
        assert len(watched.store.pods) == 0
        assert watched.resync.forbidden.namespaces(kinds.POD) == ("gone", "models")


async def test_a_kind_that_may_be_listed_nowhere_ends_the_process() -> None:
    def handle(_: web.Request) -> web.StreamResponse:
        return web.json_response(FORBIDDEN, status=403)

    async with connected(handle) as cluster:
        for namespaces in ((), ("models", "gone")):
            with pytest.raises(ClusterError, match="pods is forbidden"):
                await Watched(cluster, kinds.POD, namespaces=namespaces).resync.once()


async def test_a_storage_that_was_restored_from_a_backup_ends_the_process() -> None:
    versions = iter((50, 50, 60, 40))

    async with connected(lambda _: empty(next(versions))) as cluster:
        watched = Watched(cluster, kinds.POD)
        for _ in range(3):
            await watched.resync.once()
        with pytest.raises(StorageRestored, match="has version 40 after 60: the storage"):
            await watched.resync.once()


async def test_each_namespace_is_listed_once_when_all_watches_expired() -> None:
    namespaces = tuple(f"n{number}" for number in range(20))
    lists, expired = 0, set[str]()
    watching = asyncio.Event()

    def handle(request: web.Request) -> web.StreamResponse:
        nonlocal lists
        if "watch" not in request.query:
            lists += 1
            return empty()
        if request.path not in expired:
            expired.add(request.path)
            return web.json_response({"kind": "Status", "message": "too old"}, status=410)
        if len(expired) == len(namespaces):
            watching.set()
        return web.json_response({"kind": "Status", "message": "later"}, status=429)

    async with connected(handle) as cluster:
        watched = Watched(cluster, kinds.POD, namespaces=namespaces)
        task = asyncio.create_task(
            run_streams(cluster, watched.watcher, watched.resync, watched.selectors, namespaces)
        )
        await asyncio.wait_for(watching.wait(), 20)
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert lists == 2 * len(namespaces), "once to begin, and once after the versions expired"
