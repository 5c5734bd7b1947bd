"""From events of a watch to resources in the queue."""

import asyncio

from builders import NAME, NAMESPACE, merged, node_body, pod_body, ready_pod, resource_body
from mistral_operator.kube import kinds
from mistral_operator.kube.objects import Body, Key
from mistral_operator.watch.resync import Watcher
from mistral_operator.watch.store import Store
from mistral_operator.watch.workqueue import BURST_SECONDS, Outcome, WorkQueue
from virtual_time import run

SMALL, LARGE = Key(NAMESPACE, NAME), Key(NAMESPACE, "large")


class Recorder:
    """A watcher, and what it queued."""

    def __init__(self) -> None:
        self.store = Store(kinds.CHILD_KINDS)
        self.queue: WorkQueue[Key] = WorkQueue()
        self.watcher = Watcher(self.store, self.queue)

    def saw(self, kind: kinds.Kind, body: Body, *, deleted: bool = False) -> list[Key]:
        """Let the watcher see something, and return what it queued within a second."""
        found: list[Key] = []
        # A queue belongs to the loop that first waited for it.
        self.queue = WorkQueue()
        self.watcher = Watcher(self.store, self.queue)

        async def handle(key: Key) -> Outcome:
            found.append(key)
            return Outcome.SETTLED

        async def drain() -> None:
            self.watcher.saw(kind, body, deleted=deleted)
            worker = asyncio.create_task(self.queue.work(handle))
            await asyncio.sleep(1)
            worker.cancel()

        run(drain())
        return found


def with_two_resources() -> Recorder:
    recorder = Recorder()
    for name in (NAME, "large"):
        body = resource_body(name=name, uid=f"uid-of-{name}")
        assert recorder.saw(kinds.RESOURCE, body) == [Key(NAMESPACE, name)]
    return recorder


def test_a_pod_wakes_the_resource_that_it_belongs_to() -> None:
    recorder = with_two_resources()

    assert recorder.saw(kinds.POD, pod_body()) == [SMALL]

    assert recorder.saw(kinds.POD, ready_pod()) == [SMALL]

    assert recorder.saw(kinds.POD, ready_pod(), deleted=True) == [SMALL]


def test_a_pod_that_is_nobodys_wakes_nobody() -> None:
    recorder = with_two_resources()

    assert recorder.saw(kinds.POD, pod_body(labels={"app": "other"})) == []


def test_a_node_wakes_everybody_when_its_gpus_change_and_nobody_when_it_reports() -> None:
    recorder = with_two_resources()

    assert recorder.saw(kinds.NODE, with_uid(node_body(gpus=4))) == [SMALL, LARGE]

    heartbeat = merged(with_uid(node_body(gpus=4)), {"status": {"conditions": [{"type": "Ready"}]}})
    assert recorder.saw(kinds.NODE, heartbeat) == []

    assert recorder.saw(kinds.NODE, with_uid(node_body(gpus=8))) == [SMALL, LARGE]

    assert recorder.saw(kinds.NODE, with_uid(node_body(gpus=8)), deleted=True) == [SMALL, LARGE]


def with_uid(node: dict[str, object]) -> dict[str, object]:
    return merged(node, {"metadata": {"uid": "uid-of-node"}})


def test_a_burst_around_a_resource_wakes_it_once() -> None:
    recorder = with_two_resources()

    async def burst() -> int:
        worked = 0

        async def handle(_: Key) -> Outcome:
            nonlocal worked
            worked += 1
            return Outcome.SETTLED

        queue: WorkQueue[Key] = WorkQueue()
        watcher = Watcher(recorder.store, queue)
        worker = asyncio.create_task(queue.work(handle))
        watcher.saw(kinds.POD, pod_body(), deleted=False)
        await asyncio.sleep(BURST_SECONDS / 2)
        watcher.saw(kinds.POD, ready_pod(), deleted=False)
        await asyncio.sleep(5)
        worker.cancel()
        return worked

    assert run(burst()) == 1
