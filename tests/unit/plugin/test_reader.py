"""Reading what tenants choose: answers and logs of their pods."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from builders import NAMESPACE
from fake_api_server import FakeApiServer
from fake_objects import ApiError
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.documents import LONGEST_TEXT
from mistral_operator.kube.errors import ClusterError, Unavailable
from mistral_operator.plugin.reader import Log, Reader

MIB = 1024 * 1024


class EndlessServer:
    """An API server whose pods stream without an end."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.sent = 0
        """Bytes of the response that were sent."""
        self.query: dict[str, str] = {}

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.query = dict(request.query)
        response = web.StreamResponse(status=self.status)
        await response.prepare(request)
        while self.sent < 64 * MIB:
            await response.write(MIB * b"x")
            self.sent += MIB
        return response

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Reader]:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        async with TestServer(app) as server:
            configuration = Configuration(host=f"http://127.0.0.1:{server.port}")
            configuration.client_session_kwargs = {"trust_env": False}
            async with Cluster(ApiClient(configuration)) as cluster:
                yield Reader(cluster)


async def test_only_the_begin_of_what_a_pod_streams_is_read() -> None:
    server = EndlessServer()
    async with server.reader() as reader:
        text = await reader.text_of_pod(NAMESPACE, "small-1", 8001, "signals")

    assert text is not None
    assert len(text) == LONGEST_TEXT
    assert server.sent < 2 * LONGEST_TEXT


async def test_only_the_begin_of_an_error_of_a_pod_is_read() -> None:
    server = EndlessServer(status=500)
    async with server.reader() as reader:
        assert await reader.text_of_pod(NAMESPACE, "small-1", 8001, "signals") is None

    assert server.sent < 2 * LONGEST_TEXT


async def test_a_log_that_is_cut_is_noted() -> None:
    server = EndlessServer()
    async with server.reader() as reader:
        log = await reader.log(NAMESPACE, "small-1", "server", previous=False, lines=7)

    assert log.exists
    assert len(log.text) == LONGEST_TEXT
    assert server.query["limitBytes"] == str(LONGEST_TEXT)
    assert server.query["tailLines"] == "7"
    assert reader.notes == [
        "the log of small-1/server is longer than 8 MiB, and its end is cut: request fewer lines"
    ]


ABOUT_LOGS = {
    "no route to host": (
        500,
        "dial tcp: no route to host",
        ["cannot read the log of small-1/server: dial tcp: no route to host"],
    ),
    "wrong number of lines": (
        422,
        "tailLines: Invalid value: -2",
        ["cannot read the log of small-1/server: tailLines: Invalid value: -2"],
    ),
    "forbidden": (
        403,
        "no",
        ["cannot get pods/log in namespace models: ask an administrator to allow it"],
    ),
    "no run before": (400, 'previous terminated container "server" in pod "a" not found', []),
    "no run yet": (
        400,
        'container "server" in pod "a" is waiting to start: ContainerCreating',
        [],
    ),
    "no such pod anymore": (404, 'pods "small-1" not found', []),
}


@pytest.mark.parametrize("case", ABOUT_LOGS.values(), ids=ABOUT_LOGS)
async def test_a_log_that_cannot_be_read_is_noted(case: tuple[int, str, list[str]]) -> None:
    status, message, notes = case
    server = FakeApiServer()
    server.texts[f"/api/v1/namespaces/{NAMESPACE}/pods/small-1/log"] = "text"
    server.before_read = lambda _: ApiError(status, "Reason", message)

    async with server.cluster() as cluster:
        reader = Reader(cluster)
        log = await reader.log(NAMESPACE, "small-1", "server", previous=True, lines=7)

    assert log == Log(None if notes else False)
    assert reader.notes == notes


@pytest.mark.parametrize(("lines", "query"), [(-1, None), (0, "0"), (7, "7")])
async def test_all_lines_of_a_log_are_read_as_kubectl_reads_them(
    lines: int, query: str | None
) -> None:
    server = EndlessServer()
    async with server.reader() as reader:
        await reader.log(NAMESPACE, "small-1", "server", previous=False, lines=lines)

    assert server.query.get("tailLines") == query


@pytest.mark.parametrize("status", [500, 503, 504])
async def test_a_kind_that_cannot_be_read_is_noted(status: int) -> None:
    server = FakeApiServer()
    server.before_read = lambda _: ApiError(status, "Reason", "conversion webhook failed")

    async with server.cluster() as cluster:
        reader = Reader(cluster)
        assert await reader.all(kinds.NODE) is None
        assert await reader.get(kinds.POD, NAMESPACE, "small-1") is None
        assert await reader.exists(kinds.SECRET, NAMESPACE, "callers") is None

    assert reader.notes == [
        "cannot list nodes: conversion webhook failed",
        "cannot get pods in namespace models: conversion webhook failed",
        "cannot get secrets in namespace models: conversion webhook failed",
    ]


async def test_without_access_nothing_is_read() -> None:
    server = FakeApiServer()
    server.before_read = lambda _: ApiError(401, "Unauthorized", "Unauthorized")

    async with server.cluster() as cluster:
        with pytest.raises(ClusterError, match="Unauthorized"):
            await Reader(cluster).all(kinds.NODE)


async def test_an_api_server_that_does_not_answer_is_no_note() -> None:
    async with Cluster(ApiClient(Configuration(host="http://127.0.0.1:1"))) as cluster:
        with pytest.raises(Unavailable):
            await Reader(cluster).all(kinds.NODE)
