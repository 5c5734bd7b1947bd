"""Polling the signals of pods, over real connections on the loopback network."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from aiohttp import web

from builders import NAME, NAMESPACE, container, merged, pod_body, ready_pod, signal
from mistral_operator.kube.names import HEALTH_PORT
from mistral_operator.kube.objects import Key
from mistral_operator.signals.pods import SignalBoard, SignalPoller
from mistral_operator.watch.facts import PodFacts
from mistral_operator.watch.store import Store
from mistral_server.contract import CompileCacheReport, SignalDocument, Stage

PERIOD = 0.01
OWNER = Key(NAMESPACE, NAME)
LOADING = signal(Stage.LOADING)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def address(number: int) -> str:
    """Return a loopback address that no other run of these tests uses."""
    return f"127.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}.{number}"


IP, OTHER_IP = address(1), address(2)


class Pod:
    """Serves /signals as a pod does; `answers` may be changed while it runs."""

    def __init__(self, ip: str, answer: SignalDocument | Handler) -> None:
        self.ip = ip
        self.answer = answer
        self.polls = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Pod"]:
        app = web.Application()
        app.router.add_get("/signals", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, self.ip, HEALTH_PORT).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.polls += 1
        if isinstance(self.answer, SignalDocument):
            return web.json_response(text=self.answer.model_dump_json())
        return await self.answer(request)


class Operator:
    """The part of the operator that polls: a store with pods, a board, and the queued keys."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        self.store = Store(())
        self.board = SignalBoard()
        self.queued: list[Key] = []
        for body in bodies:
            self.store.pods.put(body)

    @contextmanager
    def polling(self, timeout: float = 2.0, ready_period: float | None = None) -> Iterator[None]:
        poller = SignalPoller(
            *(self.store, self.board, self.queued.append, PERIOD, timeout),
            ready_period=lambda _: ready_period,
        )
        task = asyncio.create_task(poller.run())
        try:
            yield
        finally:
            task.cancel()

    @property
    def pods(self) -> list[PodFacts]:
        return list(self.store.pods.values())

    @property
    def documents(self) -> list[SignalDocument]:
        """The last documents of the pods."""
        return list(self.board.documents(self.pods).values())

    @property
    def failed_polls(self) -> int:
        """Failed polls of the first pod in a row."""
        return self.board.record(self.pods[0]).failed_polls


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most 5 seconds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(PERIOD / 2)


def starting(ip: str = IP, **metadata: Any) -> dict[str, Any]:
    """Return a pod that is starting at an address."""
    return pod_body(container(), status={"podIP": ip}, **metadata)


async def test_the_document_of_a_pod_is_kept_and_its_resource_queued() -> None:
    operator = Operator(starting())
    async with Pod(IP, LOADING).serving():
        with operator.polling():
            await until(lambda: operator.documents == [LOADING])

    assert operator.queued == [OWNER]


async def test_a_pod_that_cannot_be_handled_does_not_stop_the_polling_of_the_others() -> None:
    operator, failed = Operator(starting(), starting(OTHER_IP, name="other", uid="other")), []

    def changed(_: Key) -> None:
        failed.append(1)
        raise OverflowError

    poller = SignalPoller(operator.store, operator.board, changed, PERIOD)
    async with Pod(IP, LOADING).serving(), Pod(OTHER_IP, LOADING).serving():
        task = asyncio.create_task(poller.run())
        await until(lambda: len(failed) == 2 and operator.documents == [LOADING, LOADING])
        assert not task.done()
        task.cancel()


async def test_only_changes_that_the_status_shows_queue_the_resource() -> None:
    operator = Operator(starting())
    async with Pod(IP, LOADING).serving() as pod:
        with operator.polling():
            await until(lambda: operator.documents == [LOADING])
            pod.answer = signal(Stage.LOADING, stage_seconds=9, running=3, kv_cache_usage=0.5)
            await until(lambda: operator.documents == [pod.answer])
            assert operator.queued == [OWNER]
            pod.answer = signal(Stage.CANARY)
            await until(lambda: operator.documents == [pod.answer])
            assert operator.queued == [OWNER, OWNER]
            pod.answer = signal(Stage.CANARY, effective={"context_length": 4096})
            await until(lambda: operator.documents == [pod.answer])
            assert operator.queued == [OWNER, OWNER, OWNER]
            pod.answer = pod.answer.model_copy(
                update={"compile_cache": CompileCacheReport(use="hit")}
            )
            await until(lambda: operator.documents == [pod.answer])

    assert operator.queued == [OWNER] * 4


def fetching(gigabytes: float) -> SignalDocument:
    """Return what the init container that fetches a model reports."""
    progress = {"fetched_bytes": int(gigabytes * 1e9), "total_bytes": 48 * 10**9}
    return SignalDocument.model_validate({"ready": False, "fetch": progress})


async def test_a_pod_that_fetches_its_model_is_polled_and_shown_in_steps() -> None:
    waits = {"phase": "Pending", "podIP": IP}
    operator = Operator(pod_body(container("fetch"), status=waits))
    async with Pod(IP, fetching(1)).serving() as pod:
        with operator.polling():
            await until(lambda: operator.documents == [pod.answer])
            for gigabytes in (1.2, 1.5, 1.9):
                pod.answer = fetching(gigabytes)
                await until(lambda: operator.documents == [pod.answer])
            assert operator.queued == [OWNER]
            pod.answer = fetching(2.1)
            await until(lambda: len(operator.queued) == 2)


async def test_a_pod_that_is_not_scheduled_or_waits_for_others_is_not_polled() -> None:
    waits = {"phase": "Pending", "podIP": IP}
    injected = container("injected")
    operator = Operator(pod_body(status={"initContainerStatuses": [injected], **waits}))
    async with Pod(IP, fetching(1)).serving() as pod:
        with operator.polling():
            await asyncio.sleep(20 * PERIOD)
        assert pod.polls == 0


async def garbage(_: web.Request) -> web.Response:
    return web.Response(text="<html>hello</html>")


async def wrong_shape(_: web.Request) -> web.Response:
    return web.json_response({"stage": "serving", "stage_seconds": "long"})


async def not_found(_: web.Request) -> web.Response:
    return web.Response(status=404)


async def oversize(_: web.Request) -> web.Response:
    return web.Response(text=LOADING.model_dump_json() + " " * 1_000_000)


async def breaks_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"{")
    assert request.transport is not None
    request.transport.abort()
    return response


async def says_nothing(_: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


async def redirects(_: web.Request) -> web.Response:
    raise web.HTTPFound(f"http://{OTHER_IP}:{HEALTH_PORT}/signals")


@pytest.mark.parametrize(
    "answer", [garbage, wrong_shape, not_found, oversize, breaks_off, says_nothing, redirects]
)
async def test_an_invalid_response_is_a_failed_poll_and_the_last_document_is_kept(
    answer: Handler,
) -> None:
    operator = Operator(starting())
    async with Pod(IP, LOADING).serving() as pod, Pod(OTHER_IP, signal()).serving():
        with operator.polling(timeout=0.2):
            await until(lambda: operator.documents == [LOADING])
            pod.answer = answer
            await until(lambda: operator.failed_polls == 2)
            assert operator.documents == [LOADING]
            pod.answer = signal(Stage.CANARY)
            await until(lambda: operator.documents == [pod.answer])
            assert operator.failed_polls == 0


async def in_pieces(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    text = LOADING.model_dump_json().encode()
    for piece in (text[:10], text[10:]):
        await response.write(piece)
        await asyncio.sleep(0.05)
    return response


async def test_a_response_may_arrive_in_chunks() -> None:
    operator = Operator(starting())
    async with Pod(IP, in_pieces).serving():
        with operator.polling():
            await until(lambda: bool(operator.documents) or operator.failed_polls > 0)

    assert operator.documents == [LOADING]


async def test_a_pod_that_refuses_connections_is_polled_with_increasing_delay() -> None:
    operator = Operator(starting())
    with operator.polling():
        await until(lambda: operator.failed_polls == 3)

    assert operator.documents == []
    assert operator.queued == []


async def test_a_pod_that_hangs_does_not_delay_others() -> None:
    operator = Operator(starting(OTHER_IP, name="small-0"), starting())
    async with Pod(OTHER_IP, says_nothing).serving(), Pod(IP, LOADING).serving():
        with operator.polling(timeout=60):
            await until(lambda: operator.documents == [LOADING])


async def test_a_ready_pod_is_polled_less_often_than_a_starting_one() -> None:
    serving = merged(ready_pod("small-2"), {"status": {"podIP": OTHER_IP}})
    operator = Operator(starting(), serving)
    async with Pod(IP, LOADING).serving() as slow, Pod(OTHER_IP, signal()).serving() as ready:
        with operator.polling():
            await until(lambda: slow.polls >= 12)

    assert 1 <= ready.polls <= slow.polls / 2


async def test_a_ready_pod_whose_load_counts_is_polled_at_the_scaling_interval() -> None:
    serving = merged(ready_pod("small-2"), {"status": {"podIP": OTHER_IP}})
    operator = Operator(starting(), serving)
    async with Pod(IP, LOADING).serving() as slow, Pod(OTHER_IP, signal()).serving() as ready:
        with operator.polling(ready_period=PERIOD):
            await until(lambda: slow.polls >= 12)

    assert ready.polls > slow.polls / 2
    (pod,) = [pod for pod in operator.pods if pod.ready]
    assert operator.board.recent(pod, since=0.0) == signal()
    assert operator.board.recent(pod, since=time.monotonic()) is None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(pod_body(status={"phase": "Pending", "podIP": IP}), id="not running"),
        pytest.param(pod_body(status={"podIP": None}), id="no address yet"),
        pytest.param(starting(deletionTimestamp="2026-03-01T12:00:00Z"), id="terminating"),
    ],
)
async def test_an_unreachable_pod_is_not_polled(body: dict[str, Any]) -> None:
    operator = Operator(body, starting(OTHER_IP, name="small-2"))
    async with Pod(IP, LOADING).serving() as pod, Pod(OTHER_IP, LOADING).serving() as other:
        with operator.polling():
            await until(lambda: other.polls >= 3)

    assert pod.polls == 0


async def test_the_record_of_a_deleted_pod_is_removed() -> None:
    operator = Operator(starting())
    (pod,) = operator.pods
    async with Pod(IP, LOADING).serving():
        with operator.polling():
            await until(lambda: operator.documents == [LOADING])
            operator.store.pods.remove(starting())
            await until(lambda: operator.board.documents([pod]) == {})


async def test_a_pod_with_an_ipv6_address_is_polled() -> None:
    operator = Operator(starting("::1"))
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(Pod("::1", LOADING).serving())
        except OSError as error:
            pytest.skip(f"this machine has no IPv6 loopback: {error}")
        with operator.polling():
            await until(lambda: operator.documents == [LOADING])
