"""Sweeps find missed watch events by lists of metadata."""

import asyncio
from typing import Any

import pytest

from api_server import ApiServer
from builders import NAME, NAMESPACE, crashed_container, merged, pod_body, resource_body
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.objects import Body, Key
from mistral_operator.watch.index import Index
from mistral_operator.watch.resync import Resync, Watcher
from mistral_operator.watch.store import Store
from mistral_operator.watch.sweep import Sweep, sweep_period
from mistral_operator.watch.workqueue import BURST_SECONDS, ReconcileOutcome, WorkQueue

Object = dict[str, Any]
SMALL = Key(NAMESPACE, NAME)


class SweptStore:
    """A store, and a sweep that compares it with prepared lists of one kind."""

    def __init__(self, cluster: Cluster, api: ApiServer, kind: kinds.Kind) -> None:
        self.api, self.kind = api, kind
        self.store, self.queue = Store(kinds.CHILD_KINDS), WorkQueue[Key]()
        watcher = Watcher(self.store, self.queue)
        selectors = {kind: kinds.selector_of(kind)}
        resync = Resync(cluster, watcher, selectors, ())
        self.sweep = Sweep(cluster, self.store, watcher, resync, selectors, ())
        self.grace = list[float]()
        self.sweep.sleep = self._wait
        self.late: Body | None = None
        self.late_deletion: Body | None = None

    async def _wait(self, seconds: float) -> None:
        self.grace.append(seconds)
        if self.late_deletion is not None:
            self.store.index(self.kind).remove(self.late_deletion)
        if self.late is not None:
            self.watch_reports(self.late)

    def watch_reports(self, *bodies: Body) -> None:
        """Store objects as reported by a watch."""
        for body in bodies:
            self.store.index(self.kind).put(body)

    async def compare(self, *bodies: Body, version: int = 100) -> set[Key]:
        """Sweep with a list, and return the queued resources."""
        # The API server writes null for an empty list of metadata.
        page = {"metadata": {"resourceVersion": str(version)}, "items": list(bodies) or None}
        self.api.answer = page
        await self.sweep.once()
        queued: set[Key] = set()

        async def handle(key: Key) -> ReconcileOutcome:
            queued.add(key)
            return ReconcileOutcome.SETTLED

        worker = asyncio.create_task(self.queue.work(handle))
        await asyncio.sleep(BURST_SECONDS + 1)
        worker.cancel()
        return queued

    @property
    def resources(self) -> Index[Body]:
        """The stored resources."""
        return self.store.resources

    @property
    def full_lists(self) -> int:
        """Number of full lists, not of metadata only."""
        return sum("resourceVersion" not in query for _, _, query, _ in self.api.requests)


def at(body: Body, version: int, **fields: Any) -> Object:
    """Return an object at a resource version."""
    return merged(dict(body), {"metadata": {"resourceVersion": str(version)}, **fields})


async def test_a_resource_whose_deletion_was_missed_is_deleted_from_the_store(
    cluster: Cluster, api: ApiServer
) -> None:
    store = SweptStore(cluster, api, kinds.RESOURCE)
    store.watch_reports(at(resource_body(), 7))

    assert await store.compare() == {SMALL}

    assert len(store.resources) == 0
    assert store.full_lists == 0


async def test_an_object_newer_than_the_list_stays(cluster: Cluster, api: ApiServer) -> None:
    store = SweptStore(cluster, api, kinds.RESOURCE)
    store.watch_reports(at(resource_body(), 107))

    assert await store.compare() == set()

    assert len(store.resources) == 1


async def test_a_sweep_without_differences_queues_nothing(cluster: Cluster, api: ApiServer) -> None:
    store = SweptStore(cluster, api, kinds.POD)
    store.watch_reports(at(pod_body(), 7))

    for _ in range(3):
        assert await store.compare(at(pod_body(), 7)) == set()

    assert store.full_lists == 0


@pytest.mark.parametrize("stored", [True, False], ids=["changed", "new"])
async def test_a_change_that_the_watch_does_not_report_in_time_is_listed(
    cluster: Cluster, api: ApiServer, stored: bool
) -> None:
    store = SweptStore(cluster, api, kinds.RESOURCE)
    if stored:
        store.watch_reports(at(resource_body(), 7))
    edited = at(resource_body(), 9, spec={"replicas": 3})

    assert await store.compare(edited) == {SMALL}

    assert store.grace == [0.5], "the watch may still report it"
    assert store.full_lists == 1
    body = store.resources.get(SMALL)
    assert body is not None
    assert body["spec"]["replicas"] == 3


async def test_a_late_watch_causes_no_full_list(cluster: Cluster, api: ApiServer) -> None:
    store = SweptStore(cluster, api, kinds.POD)
    store.watch_reports(at(pod_body(), 7))

    store.late = at(pod_body(), 9)
    await store.compare(at(pod_body(), 9))

    assert store.grace == [0.5]
    assert store.full_lists == 0


async def test_the_watch_may_still_report_a_deletion_with_the_last_state_of_a_pod(
    cluster: Cluster, api: ApiServer
) -> None:
    store = SweptStore(cluster, api, kinds.POD)
    store.watch_reports(at(pod_body(), 7))
    failed = pod_body(crashed_container(81))
    store.late_deletion = at(failed, 9)

    await store.compare()

    (pod,) = store.store.deleted_pods(SMALL)
    assert pod.containers[0].exit_code == 81


async def test_a_watch_that_is_later_still_is_not_waited_for(
    cluster: Cluster, api: ApiServer
) -> None:
    store = SweptStore(cluster, api, kinds.POD)
    store.watch_reports(at(pod_body(), 7))

    store.late = at(pod_body(), 8)
    await store.compare(at(pod_body(), 9))

    assert store.full_lists == 1


@pytest.mark.parametrize(
    ("objects", "requests", "seconds"),
    [(0, 10, 3.0), (70, 10, 3.0), (1_750, 0, 3.0), (3_500, 0, 6.0), (7_000, 10, 12.0)],
)
def test_a_fleet_is_swept_as_often_as_a_twelfth_of_a_core_allows(
    objects: int, requests: int, seconds: float
) -> None:
    assert sweep_period(objects, requests) == pytest.approx(seconds, rel=0.05)


def test_many_namespaces_are_swept_less_often() -> None:
    assert sweep_period(100, 10) < sweep_period(100, 10 * 20) < sweep_period(100, 10 * 100) == 12.0


async def test_an_object_without_an_owner_is_ignored(cluster: Cluster, api: ApiServer) -> None:
    store = SweptStore(cluster, api, kinds.POD)
    foreign = at(pod_body(labels={"app": "other"}), 9)

    for _ in range(3):
        assert await store.compare(foreign) == set()

    assert store.full_lists == 0


async def test_a_sweep_lists_metadata_from_the_watch_cache(
    cluster: Cluster, api: ApiServer
) -> None:
    await SweptStore(cluster, api, kinds.RESOURCE).compare()

    ((_, path, query, _),) = api.requests
    assert path.endswith("/mistralsmalldeployments")
    assert query["resourceVersion"] == "0"
    assert "PartialObjectMetadataList" in api.accepted[0]
