"""Retries while the API server is unavailable or a CRD is missing."""

import asyncio
import logging

import pytest

from api_server import ApiServer, live_object
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError, Fenced, Unavailable
from mistral_operator.kube.failures import error_of
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Body, Key
from mistral_operator.kube.transport import Object
from mistral_operator.watch.resync import Resync, installed_kinds, wait_for_kind_change

PAGE: Object = {"metadata": {"resourceVersion": "7"}, "items": []}
MONITORS: Object = {"resources": [{"name": kinds.POD_MONITOR.plural}]}


class Lists:
    """Records the resource versions of full lists."""

    def __init__(self) -> None:
        self.versions: list[int] = []

    def on_event(self, kind: Kind, body: Body, *, deleted: bool) -> None:
        """Ignore an object of a list."""

    def replace(
        self, kind: Kind, listed: set[Key], as_of: int, namespace: str | None = None
    ) -> None:
        """Record the end of a list."""
        self.versions.append(as_of)


async def test_a_list_is_retried_until_the_api_server_responds(
    cluster: Cluster, api: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    api.refusals, api.answer = 2, PAGE
    lists = Lists()

    with caplog.at_level(logging.WARNING):
        await Resync(cluster, lists, {kinds.SERVICE: None}, ()).once()

    assert lists.versions == [7]
    assert len(api.requests) == 3
    assert caplog.text.count("429 initializing") == 1, "one line, however long it takes"


async def test_a_missing_crd_is_logged_and_retried(
    cluster: Cluster, api: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    api.script = [(404, "404 page not found"), (404, "404 page not found"), (200, PAGE)]
    lists = Lists()

    with caplog.at_level(logging.WARNING):
        await Resync(cluster, lists, {kinds.RESOURCE: None}, ()).once()

    assert lists.versions == [7]
    assert caplog.text.count("does not serve mistralsmalldeployments.inference.mistral-sm") == 1


async def test_a_forbidden_list_is_not_retried(cluster: Cluster, api: ApiServer) -> None:
    api.status, api.answer = 403, {"message": "no right to list services"}

    with pytest.raises(ClusterError, match="no right to list services"):
        await Resync(cluster, Lists(), {kinds.SERVICE: None}, ()).once()
    assert len(api.requests) == 1


async def test_a_crd_that_is_installed_later_is_noticed_and_logged(
    cluster: Cluster, api: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    none: Object = {"resources": []}
    # Each check requests two groups.
    api.pages = [none, none, none, none, MONITORS, none]
    installed = await installed_kinds(cluster)
    assert installed == ()

    with caplog.at_level(logging.WARNING):
        await wait_for_kind_change(cluster, installed, 0.01, asyncio.Event())

    assert api.pages == []
    assert "installed or removed: PodMonitor" in caplog.text


async def test_a_removed_crd_is_noticed(cluster: Cluster, api: ApiServer) -> None:
    api.answer = {"resources": []}

    await wait_for_kind_change(cluster, (kinds.POD_MONITOR,), 0.01, asyncio.Event())

    assert len(api.requests) == 2


async def test_a_crd_that_a_list_did_not_find_is_looked_for_at_once(
    cluster: Cluster, api: ApiServer
) -> None:
    api.answer = {"resources": []}
    suspected = asyncio.Event()
    suspected.set()

    async with asyncio.timeout(5):
        await wait_for_kind_change(cluster, (kinds.POD_MONITOR,), 600, suspected)


async def test_a_request_is_retried_after_the_delay_of_retry_after(
    cluster: Cluster, api: ApiServer
) -> None:
    api.refusals, api.headers = 1, {"Retry-After": "1"}

    assert await cluster.get(kinds.POD, "models", "p") == live_object()

    first, second = api.times
    assert 1.0 <= second - first < 2.0


async def test_an_api_server_that_always_sends_retry_after_is_unavailable(
    cluster: Cluster, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.refusals, api.headers = 100, {"Retry-After": "7"}
    delays = skip_delays(monkeypatch)

    with pytest.raises(Unavailable, match="429 initializing") as raised:
        await cluster.get(kinds.POD, "models", "p")

    assert raised.value.retry_after == 7
    assert delays == [7, 7, 7]


async def test_a_replica_that_lost_its_lease_during_a_delay_does_not_write(
    cluster: Cluster, api: ApiServer
) -> None:
    api.refusals, api.headers = 1, {"Retry-After": "1"}
    asyncio.get_running_loop().call_later(0.3, cluster.fence.close)

    with pytest.raises(Fenced):
        await cluster.post_event("models", {})

    assert len(api.requests) == 1


RETRY_AFTER = {"3": 3.0, "3600": 30.0, "": 0.0, "Mon, 30 Nov 2026 00:00:00 GMT": 0.0, "-1": 0.0}


@pytest.mark.parametrize(("header", "seconds"), RETRY_AFTER.items())
def test_retry_after_is_parsed_and_bounded(header: str, seconds: float) -> None:
    error = error_of(429, {"Retry-After": header}, b"{}", "GET /")

    assert isinstance(error, Unavailable)
    assert error.retry_after == seconds


def skip_delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record delays instead of waiting; return the list of them."""
    delays: list[float] = []

    async def pause(seconds: float) -> None:
        delays.append(seconds)

    monkeypatch.setattr("mistral_operator.kube.transport.asyncio.sleep", pause)
    return delays
