"""The queue of resources: coalescing, one at a time, and retries of what fails."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from mistral_operator.kube.objects import Key
from mistral_operator.watch.workqueue import (
    BURST_SECONDS,
    FIRST_DELAY,
    LONGEST_DELAY,
    ReconcileOutcome,
    WorkQueue,
)
from virtual_time import run

Handle = Callable[[str], Awaitable[ReconcileOutcome]]


class RecordingHandler:
    """Records processed keys with their times; each key fails a set number of times."""

    def __init__(self, failures: dict[str, int] | None = None, seconds: float = 0.0) -> None:
        self.calls: list[tuple[str, float]] = []
        self.most_at_once = 0
        self._failures = dict(failures or {})
        self._seconds = seconds
        self._now: set[str] = set()

    async def __call__(self, key: str) -> ReconcileOutcome:
        assert key not in self._now, f"{key} is processed twice at the same time"
        self._now.add(key)
        self.most_at_once = max(self.most_at_once, len(self._now))
        self.calls.append((key, asyncio.get_running_loop().time()))
        await asyncio.sleep(self._seconds)
        self._now.discard(key)
        left = self._failures.get(key, 0)
        self._failures[key] = max(0, left - 1)
        return ReconcileOutcome.RETRY if left else ReconcileOutcome.SETTLED

    @property
    def keys(self) -> list[str]:
        """Processed keys in order."""
        return [key for key, _ in self.calls]

    @property
    def times(self) -> list[float]:
        """Time of each call."""
        return [at for _, at in self.calls]


async def work(queue: WorkQueue[str], handle: Handle, seconds: float, workers: int = 1) -> None:
    """Process a queue for some time."""
    tasks = [asyncio.create_task(queue.work(handle)) for _ in range(workers)]
    try:
        await asyncio.sleep(seconds)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def queue_without_jitter() -> WorkQueue[str]:
    """Return a queue without jitter."""
    return WorkQueue(jitter=lambda: 0.0)


def test_keys_are_processed_in_order() -> None:
    async def scenario() -> list[str]:
        queue, worked = queue_without_jitter(), RecordingHandler()
        for key in "bac":
            queue.add(key)
        assert len(queue) == 3
        await work(queue, worked, 1)
        assert queue.idle
        return worked.keys

    assert run(scenario()) == ["b", "a", "c"]


def test_a_key_added_while_queued_is_processed_once() -> None:
    async def scenario() -> list[str]:
        queue, worked = queue_without_jitter(), RecordingHandler()
        for _ in range(5):
            queue.add("a")
        await work(queue, worked, 1)
        return worked.keys

    assert run(scenario()) == ["a"]


def test_a_key_added_while_processed_is_processed_again() -> None:
    async def scenario() -> list[float]:
        queue, worked = queue_without_jitter(), RecordingHandler(seconds=10)
        queue.add("a")
        working = asyncio.create_task(work(queue, worked, 100, workers=3))
        await asyncio.sleep(5)
        assert not queue.idle
        for _ in range(5):
            queue.add("a")
        await working
        return worked.times

    assert run(scenario()) == [0, 10]


def test_several_keys_are_processed_concurrently_but_none_twice() -> None:
    async def scenario() -> RecordingHandler:
        queue, worked = queue_without_jitter(), RecordingHandler(seconds=10)
        for key in "abcd":
            queue.add(key)
        await work(queue, worked, 15, workers=3)
        return worked

    worked = run(scenario())
    assert worked.most_at_once == 3
    assert worked.times == [0, 0, 0, 10]


def test_a_failing_key_is_retried_with_increasing_delays_up_to_a_limit() -> None:
    async def scenario() -> list[float]:
        queue, worked = queue_without_jitter(), RecordingHandler({"a": 100})
        queue.add("a")
        await work(queue, worked, 3000)
        assert queue.retrying == 1
        return worked.times

    times = run(scenario())
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    doubling = [FIRST_DELAY * 2**n for n in range(9)]
    assert waits[:9] == doubling
    assert set(waits[9:]) == {LONGEST_DELAY}
    assert len(waits) > 12


@pytest.mark.parametrize(("jitter", "wait"), [(0.0, 1.0), (0.5, 1.25), (1.0, 1.5)])
def test_keys_that_failed_together_are_retried_apart(jitter: float, wait: float) -> None:
    async def scenario() -> list[float]:
        queue: WorkQueue[str] = WorkQueue(jitter=lambda: jitter)
        worked = RecordingHandler({"a": 1})
        queue.add("a")
        await work(queue, worked, 10)
        return worked.times

    assert run(scenario()) == [0, wait * FIRST_DELAY]


def test_success_resets_the_delay() -> None:
    async def scenario() -> list[float]:
        queue, worked = queue_without_jitter(), RecordingHandler({"a": 3})
        queue.add("a")
        await work(queue, worked, 50)  # fails at 0, 1, 3; succeeds at 7
        worked._failures["a"] = 1
        queue.add("a")
        await work(queue, worked, 50)
        return worked.times

    assert run(scenario()) == [0, 1, 3, 7, 50, 51]


def test_retry_all_retries_every_failed_key_soon() -> None:
    async def scenario() -> list[float]:
        queue, worked = queue_without_jitter(), RecordingHandler({"a": 12, "b": 12})
        queue.add("a")
        queue.add("b")
        await work(queue, worked, 1000)
        waiting = len(worked.calls)
        assert queue.retrying == 2
        queue.retry_all()
        start = asyncio.get_running_loop().time()
        await work(queue, worked, FIRST_DELAY)
        return [at - start for at in worked.times[waiting:]]

    assert run(scenario()) == [0.0, 0.0]


def test_an_event_replaces_a_delayed_retry() -> None:
    async def scenario() -> list[float]:
        queue, worked = queue_without_jitter(), RecordingHandler({"a": 4})
        queue.add("a")
        working = asyncio.create_task(work(queue, worked, 30))
        await asyncio.sleep(10)  # failed at 0, 1, 3, 7; the next retry would be at 15
        assert (queue.retrying, queue.idle) == (1, True)
        queue.add("a")
        assert queue.retrying == 0
        await working
        return worked.times

    assert run(scenario()) == [0, 1, 3, 7, 10]


def test_a_key_that_fails_during_an_event_is_retried_immediately() -> None:
    async def scenario() -> list[float]:
        queue, worked = queue_without_jitter(), RecordingHandler({"a": 2}, seconds=2)
        queue.add("a")
        working = asyncio.create_task(work(queue, worked, 30))
        await asyncio.sleep(1)
        queue.add("a")
        await working
        return worked.times

    # The event's own failure makes the next retry no later: events come in numbers.
    assert run(scenario()) == [0, 2, 5]


def test_a_burst_is_processed_once() -> None:
    async def scenario() -> list[float]:
        queue, worked = queue_without_jitter(), RecordingHandler()
        working = asyncio.create_task(work(queue, worked, 30))
        for _ in range(3):
            queue.add_soon("a")
            await asyncio.sleep(BURST_SECONDS / 4)
        await working
        return worked.times

    assert run(scenario()) == [BURST_SECONDS]


def test_edits_precede_events_of_children() -> None:
    async def scenario() -> list[str]:
        queue, worked = queue_without_jitter(), RecordingHandler(seconds=1)
        for key in ("a burst", "another"):
            queue.add_soon(key)
        await asyncio.sleep(2 * BURST_SECONDS)  # both are over, and wait for a worker
        for key in ("asked", "another"):
            queue.add(key)
        assert len(queue) == 3
        await work(queue, worked, 10)
        assert queue.idle
        return worked.keys

    assert run(scenario()) == ["asked", "another", "a burst"]


def test_a_key_with_outcome_soon_is_processed_again_after_the_burst() -> None:
    times: list[float] = []

    async def once_more(_: str) -> ReconcileOutcome:
        times.append(asyncio.get_running_loop().time())
        return ReconcileOutcome.SOON if len(times) == 1 else ReconcileOutcome.SETTLED

    async def scenario() -> None:
        queue = queue_without_jitter()
        queue.add("a")
        await work(queue, once_more, 30)

    run(scenario())
    assert times == [0, BURST_SECONDS]


def test_an_added_key_does_not_wait_for_the_end_of_its_burst() -> None:
    async def scenario() -> list[float]:
        queue, worked = queue_without_jitter(), RecordingHandler()
        queue.add_soon("a")
        queue.add("a")
        await work(queue, worked, 30)
        return worked.times

    assert run(scenario()) == [0]


def test_a_worker_raises_unexpected_errors() -> None:
    async def broken(_: str) -> ReconcileOutcome:
        raise RuntimeError("broken")

    async def scenario() -> None:
        queue = queue_without_jitter()
        queue.add("a")
        await queue.work(broken)

    with pytest.raises(RuntimeError, match="broken"):
        run(scenario())


def test_a_failing_key_in_a_burst_has_one_timer() -> None:
    broken: list[object] = []

    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: broken.append(context))
        queue, worked = queue_without_jitter(), RecordingHandler({"a": 1}, seconds=2)
        queue.add("a")
        working = asyncio.create_task(work(queue, worked, 30))
        await asyncio.sleep(1)
        await asyncio.sleep(0.9)
        queue.add_soon("a")
        await working
        return worked.times

    # The failure at 2 would wait until 3; the burst comes first, and nothing comes after it.
    assert run(scenario()) == [0, 1.9 + BURST_SECONDS]
    assert broken == []


def test_edits_of_one_tenant_do_not_hold_up_the_children_of_others() -> None:
    async def scenario() -> None:
        queue, processed = WorkQueue[Key](), list[float]()
        loop = asyncio.get_running_loop()

        async def handle(key: Key) -> ReconcileOutcome:
            await asyncio.sleep(1.0)  # a slow API server
            if key.namespace == "other":
                processed.append(loop.time())
            return ReconcileOutcome.SETTLED

        async def edit() -> None:
            while True:
                for number in range(60):
                    queue.add(Key("noisy", f"endpoint-{number}"))
                await asyncio.sleep(2.0)

        tasks = [asyncio.create_task(queue.work(handle)) for _ in range(20)]
        tasks.append(asyncio.create_task(edit()))
        await asyncio.sleep(5)
        queue.add_soon(Key("other", "small"))  # its Service was deleted
        await asyncio.sleep(60)
        for task in tasks:
            task.cancel()

        assert processed[0] < 15

    run(scenario())
