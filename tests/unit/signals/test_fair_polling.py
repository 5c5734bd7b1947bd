"""Pods of one tenant that respond late or not at all delay no pod of another."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from builders import merged, ready_pod, signal
from mistral_operator.signals.pods import SignalBoard, SignalPoller
from mistral_operator.watch.store import Store
from mistral_server.contract import SignalDocument
from virtual_time import run

PERIOD, READY_PERIOD, TIMEOUT = 10.0, 15.0, 3.0
HONEST = "10.9.9.9"


def pod(namespace: str, number: int, ip: str) -> Any:
    """Return a ready pod of a tenant."""
    metadata = {"namespace": namespace, "uid": f"{namespace}-{number}"}
    return merged(ready_pod(f"pod-{number}"), {"metadata": metadata, "status": {"podIP": ip}})


class Pods:
    """Pods of several tenants, in virtual time."""

    def __init__(self, *bodies: Any, delay: Callable[[str], float | None]) -> None:
        self.store = Store(())
        for body in bodies:
            self.store.pods.put(body)
        self.polls: defaultdict[str, list[float]] = defaultdict(list)
        """Times of the polls, by address."""
        self._delay = delay

    async def _fetch(self, url: str) -> SignalDocument | None:
        ip = url.split("//")[1].rpartition(":")[0]
        self.polls[ip].append(asyncio.get_running_loop().time())
        delay = self._delay(ip)
        await asyncio.sleep(TIMEOUT if delay is None else delay)
        return None if delay is None else signal()

    def poll_for(self, seconds: float) -> "Pods":
        """Poll for some time."""

        async def scenario() -> None:
            poller = SignalPoller(
                *(self.store, SignalBoard(), lambda _: None, PERIOD, TIMEOUT),
                ready_period=lambda _: READY_PERIOD,
                fetch=self._fetch,
                clock=asyncio.get_running_loop().time,
            )
            task = asyncio.create_task(poller.run())
            await asyncio.sleep(seconds)
            task.cancel()

        run(scenario())
        return self

    def longest_gap(self, ip: str) -> float:
        """Return the longest time between two polls of an address, its first one included."""
        times = [0.0, *self.polls[ip]]
        return max(later - earlier for earlier, later in pairwise(times))


@pytest.mark.parametrize(
    ("count", "delay"),
    [(300, None), (150, 2.8), (2000, None), (300, 0.0)],
    ids=["300 mute", "150 slow", "2000 mute", "300 fast"],
)
def test_a_pod_of_another_tenant_is_polled_in_time(count: int, delay: float | None) -> None:
    crowd = [pod("crowd", n, f"10.1.{n // 250}.{n % 250}") for n in range(count)]
    everybody = Pods(
        *crowd,
        pod("honest", 0, HONEST),
        delay=lambda ip: 0.01 if ip == HONEST else delay,
    ).poll_for(150)

    assert everybody.longest_gap(HONEST) <= READY_PERIOD + 1.1, everybody.polls[HONEST]
    assert len(everybody.polls[HONEST]) >= 9


def test_each_of_many_pods_of_one_tenant_is_polled_in_turn() -> None:
    crowd = [pod("crowd", n, f"10.1.0.{n}") for n in range(100)]

    everybody = Pods(*crowd, delay=lambda _: None).poll_for(300)

    assert len(everybody.polls) == 100
    counts = {len(times) for times in everybody.polls.values()}
    assert max(counts) - min(counts) <= 2


def test_a_tenant_has_a_limited_number_of_polls_at_the_same_time() -> None:
    crowd = [pod("crowd", n, f"10.1.0.{n}") for n in range(100)]

    everybody = Pods(*crowd, delay=lambda _: None).poll_for(TIMEOUT - 0.1)

    assert sum(len(times) for times in everybody.polls.values()) == 10


def test_an_error_of_one_poll_is_logged_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def delay(ip: str) -> float:
        if ip != HONEST:
            raise OverflowError("int too large to convert to float")
        return 0.01

    everybody = Pods(pod("crowd", 0, "10.1.0.1"), pod("honest", 0, HONEST), delay=delay).poll_for(
        60
    )

    assert len(everybody.polls[HONEST]) >= 4
    assert len(everybody.polls["10.1.0.1"]) == 1, "it is polled again after two minutes"
    assert "cannot handle crowd/pod-0" in caplog.text
