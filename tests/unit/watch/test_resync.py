"""Events of a watch queue resources."""

import asyncio

import pytest

from builders import (
    EARLIER,
    NAME,
    NAMESPACE,
    merged,
    next_version,
    node_body,
    pod_body,
    ready_pod,
    resource_body,
)
from mistral_operator.kube import kinds
from mistral_operator.kube.objects import Body, Key
from mistral_operator.watch.resync import Watcher
from mistral_operator.watch.store import Store
from mistral_operator.watch.workqueue import BURST_SECONDS, ReconcileOutcome, WorkQueue
from virtual_time import run

SMALL, LARGE = Key(NAMESPACE, NAME), Key(NAMESPACE, "large")


class Recorder:
    """A watcher that records the queued keys."""

    def __init__(self) -> None:
        self.store = Store(kinds.CHILD_KINDS)
        self.queue: WorkQueue[Key] = WorkQueue()
        self.watcher = Watcher(self.store, self.queue)

    def on_event(self, kind: kinds.Kind, body: Body, *, deleted: bool = False) -> list[Key]:
        """Pass an event to the watcher and return the keys queued within a second."""
        queued: list[Key] = []
        # A queue is bound to the first event loop that uses it.
        self.queue = WorkQueue()
        self.watcher = Watcher(self.store, self.queue)

        async def handle(key: Key) -> ReconcileOutcome:
            queued.append(key)
            return ReconcileOutcome.SETTLED

        async def drain() -> None:
            self.watcher.on_event(kind, body, deleted=deleted)
            worker = asyncio.create_task(self.queue.work(handle))
            await asyncio.sleep(1)
            worker.cancel()

        run(drain())
        return queued


def with_two_resources() -> Recorder:
    recorder = Recorder()
    for name in (NAME, "large"):
        body = resource_body(name=name, uid=f"uid-of-{name}")
        assert recorder.on_event(kinds.RESOURCE, body) == [Key(NAMESPACE, name)]
    return recorder


@pytest.mark.parametrize(
    ("pods", "lost", "urgent"),
    [
        pytest.param(["small-1"], pod_body(), True, id="the last one is not ready any more"),
        pytest.param(
            ["small-1"], ready_pod(deletionTimestamp=EARLIER), True, id="the last one is to stop"
        ),
        pytest.param(["small-1"], None, True, id="the last one is gone"),
        pytest.param(["small-1", "small-2"], pod_body(), False, id="another one serves"),
        pytest.param([], pod_body(), False, id="none was ready"),
    ],
)
def test_an_endpoint_that_loses_its_last_ready_pod_is_reconciled_at_once(
    pods: list[str], lost: Body | None, urgent: bool
) -> None:
    store, queue = Store(kinds.CHILD_KINDS), WorkQueue[Key]()
    store.resources.put(resource_body())
    for name in pods:
        store.pods.put(ready_pod(name))
    body = ready_pod() if lost is None else lost
    body["metadata"]["resourceVersion"] = next_version()

    async def queued() -> int:
        watcher = Watcher(store, queue, urgent=True)
        watcher.on_event(kinds.POD, body, deleted=lost is None)
        return len(queue)

    assert run(queued()) == int(urgent)


def test_a_pod_event_queues_the_owning_resource() -> None:
    recorder = with_two_resources()

    assert recorder.on_event(kinds.POD, pod_body()) == [SMALL]

    assert recorder.on_event(kinds.POD, ready_pod()) == [SMALL]

    assert recorder.on_event(kinds.POD, ready_pod(), deleted=True) == [SMALL]


def test_an_event_of_a_foreign_pod_queues_nothing() -> None:
    recorder = with_two_resources()

    assert recorder.on_event(kinds.POD, pod_body(labels={"app": "other"})) == []


def test_a_node_queues_every_resource_when_its_gpus_change_and_none_on_a_heartbeat() -> None:
    recorder = with_two_resources()

    assert recorder.on_event(kinds.NODE, with_uid(node_body(gpus=4))) == [SMALL, LARGE]

    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    heartbeat = merged(with_uid(node_body(gpus=4)), ready)
    assert recorder.on_event(kinds.NODE, heartbeat) == []

    assert recorder.on_event(kinds.NODE, with_uid(node_body(gpus=8))) == [SMALL, LARGE]

    assert recorder.on_event(kinds.NODE, with_uid(node_body(gpus=8)), deleted=True) == [
        SMALL,
        LARGE,
    ]


def with_uid(node: dict[str, object]) -> dict[str, object]:
    return merged(node, {"metadata": {"uid": "uid-of-node"}})


def test_a_burst_of_events_queues_a_resource_once() -> None:
    recorder = with_two_resources()

    async def burst() -> int:
        reconciled = 0

        async def handle(_: Key) -> ReconcileOutcome:
            nonlocal reconciled
            reconciled += 1
            return ReconcileOutcome.SETTLED

        queue: WorkQueue[Key] = WorkQueue()
        watcher = Watcher(recorder.store, queue)
        worker = asyncio.create_task(queue.work(handle))
        watcher.on_event(kinds.POD, pod_body(), deleted=False)
        await asyncio.sleep(BURST_SECONDS / 2)
        watcher.on_event(kinds.POD, ready_pod(), deleted=False)
        await asyncio.sleep(5)
        worker.cancel()
        return reconciled

    assert run(burst()) == 1
