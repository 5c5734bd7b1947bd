"""No client follows a redirect: a pod behind the API server could name any path of the cluster."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from builders import NAMESPACE
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError, Unavailable
from mistral_operator.plugin.reader import Reader

SECRETS = "/api/v1/namespaces/kube-system/secrets"


@asynccontextmanager
async def redirecting(
    status: int, location: str | None, requests: list[tuple[str, str]]
) -> AsyncIterator[Cluster]:
    """Return a connection to an API server that passes on the redirects of a pod.

    Args:
        status: of the response of the pod.
        location: where it redirects to.
        requests: becomes the methods and paths of all requests.
    """

    async def handle(request: web.Request) -> web.Response:
        requests.append((request.method, request.path))
        if request.path == SECRETS:
            return web.Response(text="ca.key")
        headers = {} if location is None else {"Location": location}
        return web.Response(status=status, headers=headers, text="elsewhere")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        configuration = Configuration(host=str(server.make_url("")).rstrip("/"))
        async with Cluster(ApiClient(configuration)) as cluster:
            yield cluster


STATUSES = [300, 301, 302, 303, 304, 307, 308]
LOCATIONS = {
    "a path": SECRETS,
    "a relative path": "../../../../../../v1/namespaces/kube-system/secrets",
    "another host": "http://127.0.0.1:1/intranet",
    "nothing": None,
}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("location", LOCATIONS.values(), ids=LOCATIONS)
async def test_the_redirect_of_a_pod_is_not_followed(status: int, location: str | None) -> None:
    requests = list[tuple[str, str]]()
    async with redirecting(status, location, requests) as cluster:
        reader = Reader(cluster)

        text = await reader.text_of_pod(NAMESPACE, "small-1", 8001, "signals")

    assert text is None
    assert len(requests) == 1
    assert "does not answer at port 8001" in reader.notes[0]


async def _write(cluster: Cluster) -> None:
    await cluster.request("PATCH", "/api/v1/namespaces/models/pods/small-1", body=[])


async def _read(cluster: Cluster) -> None:
    await cluster.request("GET", "/api/v1/namespaces/models/pods/small-1")


async def _watch(cluster: Cluster) -> None:
    await cluster.follow("/api/v1/pods", {"watch": "true"}, lambda _: None)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("send", [_read, _write, _watch])
async def test_a_redirect_of_the_api_server_is_an_error(
    send: Callable[[Cluster], Awaitable[None]], status: int
) -> None:
    requests = list[tuple[str, str]]()
    async with redirecting(status, SECRETS, requests) as cluster:
        with pytest.raises(ClusterError) as raised:
            await send(cluster)

    assert (raised.value.status, len(requests)) == (status, 1)
    assert not isinstance(raised.value, Unavailable)
