"""The order in which API keys are checked, and how many may wait."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mistral_operator.activator.key_checks import KeyChecks, TooManyChecks, Turns
from mistral_operator.scale_to_zero import StoredKeys

SALT = "A" * 16


class Slow:
    """Computes digests when the test lets it, and records for which keys."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.permits = asyncio.Semaphore(0)
        self._loop = asyncio.get_running_loop()

    def __call__(self, key: bytes, salt: str) -> str:
        asyncio.run_coroutine_threadsafe(self.permits.acquire(), self._loop).result(5)
        self.keys.append(key.decode())
        return f"{key.decode()[::-1]} {salt}"

    def permit(self, count: int) -> None:
        """Let some more digests be computed."""
        for _ in range(count):
            self.permits.release()


STORED = StoredKeys("c2VjcmV0", SALT, (f"thgir {SALT}",))

Begin = Callable[..., "asyncio.Task[bool | None]"]


def beginning(checks: KeyChecks) -> Begin:
    """Return what begins the check of a key."""

    def begin(key: str, source: str = "10.0.0.1", namespace: str = "team-a") -> Any:
        return asyncio.create_task(checks.is_right(STORED, key, namespace=namespace, source=source))

    return begin


async def test_a_flood_of_made_up_keys_does_not_delay_other_clients_and_namespaces() -> None:
    slow = Slow()
    begin = beginning(KeyChecks(slow))
    flood = [begin(f"wrong {number}") for number in range(100)]
    await asyncio.sleep(0.01)
    regular = begin("right", source="")
    neighbor = begin("neighbor", source="10.0.0.2")
    tenant = begin("tenant", namespace="team-b")
    await asyncio.sleep(0.01)

    slow.permit(6)
    async with asyncio.timeout(5):
        assert await regular
        assert not await neighbor
        assert not await tenant
    assert {"right", "neighbor", "tenant"} < {*slow.keys[:6]}

    refused = [one for one in flood if one.done() and isinstance(one.exception(), TooManyChecks)]
    assert len(refused) == 84, "16 wait"
    slow.permit(100)
    assert not any(await asyncio.gather(*(one for one in flood if one not in refused)))


async def test_a_key_is_checked_once_however_many_requests_have_it() -> None:
    slow = Slow()
    checks = KeyChecks(slow)
    begin = beginning(checks)
    first, *others = [begin("right") for _ in range(100)]
    await asyncio.sleep(0.01)
    first.cancel()
    slow.permit(1)

    assert await asyncio.gather(*others) == [True] * 99
    assert await begin("right")
    slow.permit(1)
    assert [await begin("wrong"), await begin("wrong")] == [False, False]
    assert slow.keys == ["right", "wrong"]
    kept = vars(checks)
    assert "wrong" not in repr([kept["_results"], kept["_running"], vars(kept["_turns"])])


async def test_an_added_key_is_right_without_another_check() -> None:
    slow = Slow()
    checks = KeyChecks(slow)
    begin = beginning(checks)
    slow.permit(1)
    assert not await begin("new")

    changed = StoredKeys(STORED.secret, SALT, (*STORED.digests, f"wen {SALT}"))
    assert await checks.is_right(changed, "new", namespace="team-a", source="10.0.0.1")


async def test_a_machine_that_cannot_compute_digests_leaves_keys_to_the_replicas() -> None:
    def fail(*_: object) -> str:
        raise ValueError("unsupported")

    checks = KeyChecks(fail)
    assert await checks.is_right(STORED, "right", namespace="team-a", source="") is None


async def test_a_namespace_has_a_limit_whatever_the_number_of_its_clients() -> None:
    turns = Turns()
    for number in range(64):
        turns.put("team-a", f"10.0.0.{number}", (SALT, b""), "key")

    with pytest.raises(TooManyChecks):
        turns.put("team-a", "10.0.1.1", (SALT, b""), "key")
    turns.put("team-a", "", (SALT, b"known"), "known")
    turns.put("team-b", "10.0.1.1", (SALT, b"other"), "other")

    taken = [turns.take() for _ in range(3)]
    assert [one[1] for one in taken if one] == ["known", "other", "key"]
    assert len([*iter(turns.take, None)]) == 63


async def test_keys_that_a_replica_accepted_have_a_limit_too() -> None:
    turns = Turns()
    for number in range(64):
        turns.put("team-a", "", (SALT, bytes([number])), "key")
    with pytest.raises(TooManyChecks):
        turns.put("team-a", "", (SALT, b"one more"), "key")
    turns.put("team-b", "", (SALT, b"other"), "other")
    turns.put("team-a", "10.0.0.1", (SALT, b"new"), "new")


@pytest.mark.parametrize("source", ["", "10.0.0.1"])
async def test_a_key_whose_clients_have_left_is_neither_kept_nor_checked(source: str) -> None:
    """25,600 requests that were gone kept 390 MiB of keys, and the checks busy for an hour."""
    slow = Slow()
    checks = KeyChecks(slow)
    begin = beginning(checks)
    first = begin("first", source=source)
    await asyncio.sleep(0.01)
    for round_ in range(10):
        left = [begin(f"left {round_} {number}", source=source) for number in range(10)]
        await asyncio.sleep(0)
        for one in left:
            one.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    kept = vars(checks)
    assert "left" not in repr([kept["_running"], vars(kept["_turns"])])

    last = begin("last", source=source)
    slow.permit(2)
    assert (await first, await last) == (False, False)
    assert slow.keys == ["first", "last"]


async def test_a_key_that_one_of_its_clients_still_waits_for_is_checked() -> None:
    slow = Slow()
    begin = beginning(KeyChecks(slow))
    first = begin("first")
    await asyncio.sleep(0.01)
    left, stays = begin("right"), begin("right", source="10.0.0.2")
    await asyncio.sleep(0)
    left.cancel()
    slow.permit(2)

    assert [await first, await stays] == [False, True]
