"""An API server that asks to come back later, and one that learns new kinds."""

import asyncio
import logging

import pytest

from api_server import ApiServer
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster, Object
from mistral_operator.kube.errors import ClusterError, Fenced, Unavailable
from mistral_operator.kube.failures import error_of
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Body, Key
from mistral_operator.watch.resync import Resync, installed_kinds, until_other_kinds

PAGE: Object = {"metadata": {"resourceVersion": "7"}, "items": []}
MONITORS: Object = {"resources": [{"name": kinds.POD_MONITOR.plural}]}


class Sweeps:
    """Remembers the full lists."""

    def __init__(self) -> None:
        self.swept_at: list[int] = []

    def saw(self, kind: Kind, body: Body, *, deleted: bool) -> None:
        """Take an object of a list."""

    def swept(self, kind: Kind, seen: set[Key], as_of: int) -> None:
        """Take the end of a list."""
        self.swept_at.append(as_of)


async def test_a_list_is_asked_for_until_the_api_server_answers(
    cluster: Cluster, api: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    api.refusals, api.answer = 2, PAGE
    sweeps = Sweeps()

    with caplog.at_level(logging.WARNING):
        await Resync(cluster, sweeps, {kinds.SERVICE: None}, ()).once()

    assert sweeps.swept_at == [7]
    assert len(api.asked) == 3
    assert caplog.text.count("429 initializing") == 1, "one line, however long it takes"


async def test_a_crd_that_is_not_installed_is_named_and_waited_for(
    cluster: Cluster, api: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    api.script = [(404, "404 page not found"), (404, "404 page not found"), (200, PAGE)]
    sweeps = Sweeps()

    with caplog.at_level(logging.WARNING):
        await Resync(cluster, sweeps, {kinds.RESOURCE: None}, ()).once()

    assert sweeps.swept_at == [7]
    assert caplog.text.count("does not serve mistralsmalldeployments.inference.mistral-sm") == 1


async def test_a_list_that_is_forbidden_is_not_asked_for_again(
    cluster: Cluster, api: ApiServer
) -> None:
    api.status, api.answer = 403, {"message": "no right to list services"}

    with pytest.raises(ClusterError, match="no right to list services"):
        await Resync(cluster, Sweeps(), {kinds.SERVICE: None}, ()).once()
    assert len(api.asked) == 1


async def test_a_kind_that_is_installed_later_is_noticed_and_named(
    cluster: Cluster, api: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    none: Object = {"resources": []}
    # Two groups are asked for in each look.
    api.pages = [none, none, none, none, MONITORS, none]
    known = await installed_kinds(cluster)
    assert known == ()

    with caplog.at_level(logging.WARNING):
        await until_other_kinds(cluster, known, period=0.01)

    assert api.pages == []
    assert "installed or removed: PodMonitor" in caplog.text


async def test_a_kind_that_is_removed_is_noticed_too(cluster: Cluster, api: ApiServer) -> None:
    api.answer = {"resources": []}

    await until_other_kinds(cluster, (kinds.POD_MONITOR,), period=0.01)

    assert len(api.asked) == 2


async def test_a_request_is_sent_again_after_the_pause_that_the_api_server_names(
    cluster: Cluster, api: ApiServer
) -> None:
    api.refusals, api.headers = 1, {"Retry-After": "1"}

    assert await cluster.get(kinds.POD, "models", "p") == {}

    first, second = api.times
    assert 1.0 <= second - first < 2.0


async def test_an_api_server_that_names_a_pause_every_time_is_unavailable(
    cluster: Cluster, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.refusals, api.headers = 100, {"Retry-After": "7"}
    pauses = skip_pauses(monkeypatch)

    with pytest.raises(Unavailable, match="429 initializing") as raised:
        await cluster.get(kinds.POD, "models", "p")

    assert raised.value.retry_after == 7
    assert pauses == [7, 7, 7]


async def test_a_replica_that_lost_its_lease_during_a_pause_does_not_write(
    cluster: Cluster, api: ApiServer
) -> None:
    api.refusals, api.headers = 1, {"Retry-After": "1"}
    asyncio.get_running_loop().call_later(0.3, cluster.fence.close)

    with pytest.raises(Fenced):
        await cluster.post_event("models", {})

    assert len(api.asked) == 1


RETRY_AFTER = {"3": 3.0, "3600": 30.0, "": 0.0, "Mon, 30 Nov 2026 00:00:00 GMT": 0.0, "-1": 0.0}


@pytest.mark.parametrize(("header", "seconds"), RETRY_AFTER.items())
def test_a_pause_is_read_and_bounded(header: str, seconds: float) -> None:
    error = error_of(429, {"Retry-After": header}, b"{}", "GET /")

    assert isinstance(error, Unavailable)
    assert error.retry_after == seconds


def skip_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses that are taken from now on; none takes any time."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("mistral_operator.kube.client.asyncio.sleep", pause)
    return pauses
