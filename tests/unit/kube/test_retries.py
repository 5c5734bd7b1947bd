"""An API server that asks to come back later, and one that learns new kinds."""

import logging

import pytest

from api_server import ApiServer
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster, Object
from mistral_operator.kube.errors import ClusterError
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
    assert "PodMonitor came or went" in caplog.text


async def test_a_kind_that_is_removed_is_noticed_too(cluster: Cluster, api: ApiServer) -> None:
    api.answer = {"resources": []}

    await until_other_kinds(cluster, (kinds.POD_MONITOR,), period=0.01)

    assert len(api.asked) == 2
