"""The queue of resources: coalescing, one at a time, and patience with what fails."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from mistral_operator.watch.workqueue import (
    BURST_SECONDS,
    FIRST_DELAY,
    LONGEST_DELAY,
    Outcome,
    WorkQueue,
)
from virtual_time import run

Handle = Callable[[str], Awaitable[Outcome]]


class Worked:
    """What was worked on and when; each key fails as often as it is told to."""

    def __init__(self, failures: dict[str, int] | None = None, seconds: float = 0.0) -> None:
        self.calls: list[tuple[str, float]] = []
        self.most_at_once = 0
        self._failures = dict(failures or {})
        self._seconds = seconds
        self._now: set[str] = set()

    async def __call__(self, key: str) -> Outcome:
        assert key not in self._now, f"{key} is worked on twice at the same time"
        self._now.add(key)
        self.most_at_once = max(self.most_at_once, len(self._now))
        self.calls.append((key, asyncio.get_running_loop().time()))
        await asyncio.sleep(self._seconds)
        self._now.discard(key)
        left = self._failures.get(key, 0)
        self._failures[key] = max(0, left - 1)
        return Outcome.RETRY if left else Outcome.SETTLED

    @property
    def keys(self) -> list[str]:
        """The keys in the order in which they were worked on."""
        return [key for key, _ in self.calls]

    @property
    def times(self) -> list[float]:
        """When each was worked on."""
        return [at for _, at in self.calls]


async def work(queue: WorkQueue[str], handle: Handle, seconds: float, workers: int = 1) -> None:
    """Work on a queue for some time."""
    tasks = [asyncio.create_task(queue.work(handle)) for _ in range(workers)]
    try:
        await asyncio.sleep(seconds)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def patient() -> WorkQueue[str]:
    """Return a queue without jitter."""
    return WorkQueue(jitter=lambda: 0.0)


def test_keys_are_worked_on_in_the_order_in_which_they_came() -> None:
    async def scenario() -> list[str]:
        queue, worked = patient(), Worked()
        for key in "bac":
            queue.add(key)
        assert len(queue) == 3
        await work(queue, worked, 1)
        assert queue.idle
        return worked.keys

    assert run(scenario()) == ["b", "a", "c"]


def test_a_key_that_is_added_while_it_waits_is_worked_on_once() -> None:
    async def scenario() -> list[str]:
        queue, worked = patient(), Worked()
        for _ in range(5):
            queue.add("a")
        await work(queue, worked, 1)
        return worked.keys

    assert run(scenario()) == ["a"]


def test_a_key_that_is_added_while_it_is_worked_on_is_worked_on_once_more() -> None:
    async def scenario() -> list[float]:
        queue, worked = patient(), Worked(seconds=10)
        queue.add("a")
        working = asyncio.create_task(work(queue, worked, 100, workers=3))
        await asyncio.sleep(5)
        assert not queue.idle
        for _ in range(5):
            queue.add("a")
        await working
        return worked.times

    assert run(scenario()) == [0, 10]


def test_several_keys_are_worked_on_at_once_but_none_twice() -> None:
    async def scenario() -> Worked:
        queue, worked = patient(), Worked(seconds=10)
        for key in "abcd":
            queue.add(key)
        await work(queue, worked, 15, workers=3)
        return worked

    worked = run(scenario())
    assert worked.most_at_once == 3
    assert worked.times == [0, 0, 0, 10]


def test_a_key_that_fails_comes_back_later_and_later_up_to_a_limit() -> None:
    async def scenario() -> list[float]:
        queue, worked = patient(), Worked({"a": 100})
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
def test_keys_that_failed_together_come_back_apart(jitter: float, wait: float) -> None:
    async def scenario() -> list[float]:
        queue: WorkQueue[str] = WorkQueue(jitter=lambda: jitter)
        worked = Worked({"a": 1})
        queue.add("a")
        await work(queue, worked, 10)
        return worked.times

    assert run(scenario()) == [0, wait * FIRST_DELAY]


def test_success_resets_the_patience() -> None:
    async def scenario() -> list[float]:
        queue, worked = patient(), Worked({"a": 3})
        queue.add("a")
        await work(queue, worked, 50)  # fails at 0, 1, 3; succeeds at 7
        worked._failures["a"] = 1
        queue.add("a")
        await work(queue, worked, 50)
        return worked.times

    assert run(scenario()) == [0, 1, 3, 7, 50, 51]


def test_when_what_stood_in_the_way_is_gone_every_failed_key_is_retried_within_moments() -> None:
    async def scenario() -> list[float]:
        queue, worked = patient(), Worked({"a": 12, "b": 12})
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


def test_an_event_makes_a_waiting_retry_happen_now_and_only_once() -> None:
    async def scenario() -> list[float]:
        queue, worked = patient(), Worked({"a": 4})
        queue.add("a")
        working = asyncio.create_task(work(queue, worked, 30))
        await asyncio.sleep(10)  # failed at 0, 1, 3, 7; the next retry would be at 15
        assert (queue.retrying, queue.idle) == (1, True)
        queue.add("a")
        assert queue.retrying == 0
        await working
        return worked.times

    assert run(scenario()) == [0, 1, 3, 7, 10]


def test_a_key_that_fails_while_an_event_comes_is_tried_at_once() -> None:
    async def scenario() -> list[float]:
        queue, worked = patient(), Worked({"a": 2}, seconds=2)
        queue.add("a")
        working = asyncio.create_task(work(queue, worked, 30))
        await asyncio.sleep(1)
        queue.add("a")
        await working
        return worked.times

    # The event's own failure makes the next retry no later: events come in numbers.
    assert run(scenario()) == [0, 2, 5]


def test_a_burst_is_worked_on_once_when_it_has_gone_on_for_a_while() -> None:
    async def scenario() -> list[float]:
        queue, worked = patient(), Worked()
        working = asyncio.create_task(work(queue, worked, 30))
        for _ in range(3):
            queue.add_soon("a")
            await asyncio.sleep(BURST_SECONDS / 4)
        await working
        return worked.times

    assert run(scenario()) == [BURST_SECONDS]


def test_what_somebody_asked_for_goes_before_what_follows_from_it() -> None:
    async def scenario() -> list[str]:
        queue, worked = patient(), Worked(seconds=1)
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


def test_a_key_that_asks_for_it_is_looked_at_again_when_the_burst_is_over() -> None:
    times: list[float] = []

    async def once_more(_: str) -> Outcome:
        times.append(asyncio.get_running_loop().time())
        return Outcome.SOON if len(times) == 1 else Outcome.SETTLED

    async def scenario() -> None:
        queue = patient()
        queue.add("a")
        await work(queue, once_more, 30)

    run(scenario())
    assert times == [0, BURST_SECONDS]


def test_a_key_that_is_added_does_not_wait_for_the_end_of_its_burst() -> None:
    async def scenario() -> list[float]:
        queue, worked = patient(), Worked()
        queue.add_soon("a")
        queue.add("a")
        await work(queue, worked, 30)
        return worked.times

    assert run(scenario()) == [0]


def test_a_worker_that_breaks_says_so() -> None:
    async def broken(_: str) -> Outcome:
        raise RuntimeError("broken")

    async def scenario() -> None:
        queue = patient()
        queue.add("a")
        await queue.work(broken)

    with pytest.raises(RuntimeError, match="broken"):
        run(scenario())


def test_a_failing_key_that_a_burst_is_about_to_wake_has_one_timer_only() -> None:
    broken: list[object] = []

    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: broken.append(context))
        queue, worked = patient(), Worked({"a": 1}, seconds=2)
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
