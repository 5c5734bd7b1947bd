"""What the watches missed is found by lists of metadata."""

import asyncio
from typing import Any

import pytest

from api_server import ApiServer
from builders import NAME, NAMESPACE, merged, pod_body, resource_body
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.objects import Body, Key
from mistral_operator.watch.resync import Resync, Watcher
from mistral_operator.watch.store import Store
from mistral_operator.watch.sweep import Sweep
from mistral_operator.watch.workqueue import Outcome, WorkQueue

Object = dict[str, Any]
SMALL = Key(NAMESPACE, NAME)


class Swept:
    """A store, and a sweep that compares it with prepared lists of one kind."""

    def __init__(self, cluster: Cluster, api: ApiServer, kind: kinds.Kind) -> None:
        self.api, self.kind = api, kind
        self.store, self.queue = Store(kinds.CHILD_KINDS), WorkQueue[Key]()
        watcher = Watcher(self.store, self.queue)
        selectors = {kind: kinds.selector_of(kind)}
        resync = Resync(cluster, watcher, selectors, ())
        self.sweep = Sweep(cluster, self.store, watcher, resync, selectors, ())

    def known(self, *bodies: Body) -> None:
        """Let a watch tell of objects, before the sweep."""
        for body in bodies:
            self.store.shelf(self.kind).put(body)

    async def compare(self, *bodies: Body, version: int = 100) -> set[Key]:
        """Sweep over a list, and return which resources are queued."""
        # The API server writes null for an empty list of metadata.
        page = {"metadata": {"resourceVersion": str(version)}, "items": list(bodies) or None}
        self.api.answer = page
        await self.sweep.once()
        queued: set[Key] = set()

        async def handle(key: Key) -> Outcome:
            queued.add(key)
            return Outcome.SETTLED

        worker = asyncio.create_task(self.queue.work(handle))
        await asyncio.sleep(0.6)  # a burst is 0.5 s
        worker.cancel()
        return queued

    @property
    def full_lists(self) -> int:
        """How often all of the objects were asked for, not their metadata alone."""
        return sum("resourceVersion" not in query for _, _, query, _ in self.api.asked)


def at(body: Body, version: int, **fields: Any) -> Object:
    """Return an object at a resource version."""
    return merged(dict(body), {"metadata": {"resourceVersion": str(version)}, **fields})


async def test_a_resource_whose_deletion_was_lost_is_forgotten(
    cluster: Cluster, api: ApiServer
) -> None:
    swept = Swept(cluster, api, kinds.RESOURCE)
    swept.known(at(resource_body(), 7))

    assert await swept.compare() == {SMALL}

    assert len(swept.store.resources) == 0
    assert swept.full_lists == 0


async def test_what_is_newer_than_the_list_stays(cluster: Cluster, api: ApiServer) -> None:
    swept = Swept(cluster, api, kinds.RESOURCE)
    swept.known(at(resource_body(), 107))

    assert await swept.compare() == set()

    assert len(swept.store.resources) == 1


async def test_nothing_follows_while_the_watch_told_of_everything(
    cluster: Cluster, api: ApiServer
) -> None:
    swept = Swept(cluster, api, kinds.POD)
    swept.known(at(pod_body(), 7))

    for _ in range(3):
        assert await swept.compare(at(pod_body(), 7)) == set()

    assert swept.full_lists == 0


@pytest.mark.parametrize("known", [True, False], ids=["changed", "new"])
async def test_a_change_that_the_watch_lost_is_listed_by_the_second_sweep(
    cluster: Cluster, api: ApiServer, known: bool
) -> None:
    swept = Swept(cluster, api, kinds.RESOURCE)
    if known:
        swept.known(at(resource_body(), 7))
    edited = at(resource_body(), 9, spec={"replicas": 3})

    assert await swept.compare(edited) == set(), "the watch may still tell"
    assert await swept.compare(edited) == {SMALL}

    assert swept.full_lists == 1
    body = swept.store.resources.get(SMALL)
    assert body is not None
    assert body["spec"]["replicas"] == 3


async def test_a_watch_that_is_only_late_causes_no_full_list(
    cluster: Cluster, api: ApiServer
) -> None:
    swept = Swept(cluster, api, kinds.POD)
    swept.known(at(pod_body(), 7))

    await swept.compare(at(pod_body(), 9))
    swept.known(at(pod_body(), 9))
    await swept.compare(at(pod_body(), 11))

    assert swept.full_lists == 0


async def test_an_object_without_an_owner_is_no_concern(cluster: Cluster, api: ApiServer) -> None:
    swept = Swept(cluster, api, kinds.POD)
    foreign = at(pod_body(labels={"app": "other"}), 9)

    for _ in range(3):
        assert await swept.compare(foreign) == set()

    assert swept.full_lists == 0


async def test_lists_are_of_metadata_and_from_memory(cluster: Cluster, api: ApiServer) -> None:
    await Swept(cluster, api, kinds.RESOURCE).compare()

    ((_, path, query, _),) = api.asked
    assert path.endswith("/mistralsmalldeployments")
    assert query["resourceVersion"] == "0"
    assert "PartialObjectMetadataList" in api.accepted[0]
