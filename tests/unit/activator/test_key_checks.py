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


# --- A full namespace -----------------------------------------------------------------------------


def full(*sources: str, each: int) -> Turns:
    """Return turns in which some keys of each source wait."""
    turns = Turns()
    for source in sources:
        for number in range(each):
            turns.put("team-a", source, (SALT, f"{source} {number}".encode()), "made up")
    return turns


FOUR = [f"10.0.0.{number}" for number in range(4)]
MANY = [f"10.0.1.{number}" for number in range(64)]
ONE_NETWORK = [f"2001:db8::{number:x}" for number in range(64)]


@pytest.mark.parametrize(
    ("sources", "each", "source", "added"),
    [
        pytest.param(FOUR, 16, "10.0.0.9", 12, id="four addresses give way to a fifth"),
        pytest.param(FOUR, 16, "2001:db8::1", 12, id="to one of the other family"),
        pytest.param(FOUR, 16, FOUR[0], 0, id="but not to one of them"),
        pytest.param(MANY, 1, "10.0.0.9", 0, id="many addresses with a key each do not"),
        pytest.param(ONE_NETWORK, 1, "10.0.0.9", 16, id="those of one network do"),
        pytest.param(ONE_NETWORK, 1, "2001:db8:0:1::1", 16, id="to another network"),
        pytest.param(ONE_NETWORK, 1, "2001:db8::ffff", 0, id="but not to one of theirs"),
        pytest.param(ONE_NETWORK[:4], 16, "2001:db8::ffff", 12, id="unless they have more"),
        pytest.param(FOUR, 16, "unknown", 12, id="to one without an address"),
    ],
)
def test_sources_with_many_keys_give_way_to_those_with_few(
    sources: list[str], each: int, source: str, added: int
) -> None:
    """Four addresses with 16 made-up keys each kept every new client of a namespace out."""
    turns, removed = full(*sources, each=each), []
    count = 0
    for number in range(17):
        try:
            removed.append(turns.put("team-a", source, (SALT, b"new %d" % number), "new"))
        except TooManyChecks:
            break
        count += 1

    assert count == added
    waiting = [one[0] for one in iter(turns.take, None)]
    assert not {*waiting} & {*removed}
    assert len(waiting) <= 64


async def test_the_client_of_a_key_that_gives_way_is_told_to_come_back() -> None:
    slow = Slow()
    begin = beginning(KeyChecks(slow))
    flood = [begin(f"{source} {number}", source) for source in FOUR for number in range(16)]
    await asyncio.sleep(0.05)
    more = begin("first is computed", FOUR[0])
    await asyncio.sleep(0.01)
    regular = begin("right", "10.0.0.9")
    await asyncio.sleep(0.01)

    (gone,) = (one for one in [*flood, more] if one.done())
    assert isinstance(gone.exception(), TooManyChecks)
    slow.permit(100)
    assert await regular
    assert slow.keys.index("right") <= 5
    assert len(await asyncio.gather(*flood, more, return_exceptions=True)) == 65
