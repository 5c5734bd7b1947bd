"""Which API keys start a replica, once its replicas have published digests of their keys."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from activator_in_process import CHAT, Activator, Replica, activator, counted, error_of
from mistral_operator.activator.endpoints import BELIEF_SECONDS
from mistral_operator.activator.key_checks import KeyChecks, TooManyChecks, Turns
from mistral_operator.scale_to_zero import StoredKeys

SALT = "A" * 16


def bearer(key: str) -> dict[str, str]:
    """Return the header with a key."""
    return {"Authorization": f"Bearer {key}"}


def pass_time(made: Activator, seconds: float) -> None:
    """Let time pass for the endpoint."""
    before = made.endpoint.clock
    made.endpoint.clock = lambda: before() + seconds


async def status_of(made: Activator, key: str) -> tuple[int, str]:
    """Return status and code of the error that a request with a key receives at once."""
    # Ten digests in turn, each followed by a pause as long, on a busy machine.
    async with asyncio.timeout(30):
        status, _, body = await made.post(headers=bearer(key))
    return status, error_of(body)["code"]


async def test_a_wrong_key_starts_nothing_and_the_right_one_does() -> None:
    before = counted("wrong_key")
    async with activator(keys=True) as made, Replica().serving() as replica:
        made.publish_keys("right", "other", "schl\u00fcssel")

        for key in ("wrong", "rig", "right2", "Right", "other right", "\xfcber"):
            assert await status_of(made, key) == (401, "invalid_api_key"), key
            assert made.endpoint.held == 0
        assert counted("wrong_key") == before + 6

        pending = [
            asyncio.create_task(made.post(headers={"Authorization": value}))
            for value in (
                "Bearer right",
                "bearer   right ",
                "BEARER other",
                "Bearer schl\u00fcssel",
            )
        ]
        await made.until_queued(4)
        made.make_ready(replica)
        assert [one[0] for one in await asyncio.gather(*pending)] == [201] * 4


async def test_made_up_keys_take_no_place_in_the_queue() -> None:
    async with activator(keys=True, max_requests=2) as made, Replica().serving() as replica:
        made.publish_keys("right")
        wrong = await asyncio.gather(*(status_of(made, f"wrong {n}") for n in range(10)))
        assert {*wrong} == {(401, "invalid_api_key")}

        pending = [asyncio.create_task(made.post(headers=bearer("right"))) for _ in range(2)]
        await made.until_queued(2)
        made.make_ready(replica)
        assert [one[0] for one in await asyncio.gather(*pending)] == [201, 201]


async def test_while_a_replica_is_ready_it_judges_every_key() -> None:
    replica = Replica(keys={"Bearer new"})
    async with activator(keys=True) as made, replica.serving():
        made.publish_keys("old")
        made.make_ready(replica)

        assert (await made.post(headers=bearer("new")))[0] == 201
        assert (await made.post(headers=bearer("old")))[0] == 401
        assert len(replica.received) == 2


async def test_an_endpoint_without_required_keys_checks_none() -> None:
    async with activator() as made, Replica().serving() as replica:
        made.publish_keys("right")
        pending = asyncio.create_task(made.post(headers=bearer("whatever")))
        await made.until_queued(1)
        made.make_ready(replica)
        assert (await pending)[0] == 201


@pytest.mark.parametrize("published", [True, False], ids=["taken away", "never published"])
async def test_without_digests_any_key_starts_a_replica(published: bool) -> None:
    async with activator(keys=True) as made, Replica().serving() as replica:
        if published:
            made.publish_keys("right")
            made.publish_keys()
        pending = asyncio.create_task(made.post(headers=bearer("whatever")))
        await made.until_queued(1)
        made.make_ready(replica)
        assert (await pending)[0] == 201


# --- A Secret that changed while no replica ran ---------------------------------------------------


async def test_a_new_key_in_the_secret_starts_a_replica_once_digests_are_an_hour_old() -> None:
    replica = Replica(keys={"Bearer new"})
    async with activator(keys=True) as made, replica.serving():
        made.publish_keys("old")
        assert (await status_of(made, "new"))[0] == 401
        pass_time(made, BELIEF_SECONDS)

        first = asyncio.create_task(made.post(headers=bearer("new")))
        await made.until_queued(1)
        assert await status_of(made, "new") == (503, "unknown_api_key"), "it waits for the first"
        assert made.endpoint.held == 1, "more places would start more replicas"

        made.make_ready(replica)
        assert (await first)[0] == 201
        made.no_replica()
        made.publish_keys("new", salt="B" * 16)
        second = asyncio.create_task(made.post(headers=bearer("new")))
        await made.until_queued(1)
        assert (await status_of(made, "old"))[0] == 401
        made.make_ready(replica)
        assert (await second)[0] == 201


async def test_made_up_keys_start_one_replica_an_hour() -> None:
    replica = Replica(keys=set())
    async with activator(keys=True) as made, replica.serving():
        made.publish_keys("right")
        for _ in range(3):
            pass_time(made, BELIEF_SECONDS)
            pending = asyncio.create_task(made.post(headers=bearer("made up")))
            await made.until_queued(1)
            made.make_ready(replica)
            assert (await pending)[0] == 401
            # It serves for hours, and the hour begins when it stops.
            pass_time(made, 5 * BELIEF_SECONDS)
            made.no_replica()
            for seconds in (0, 60, BELIEF_SECONDS - 100):
                pass_time(made, seconds)
                assert (await status_of(made, "made up"))[0] == 401


def reported(made: Activator) -> int:
    """Return how many queued requests the operator is told of."""
    return sum(one.held for one in made.endpoints.document().endpoints)


async def leave_at_once(made: Activator, key: str) -> None:
    """Send the request with a key that may start a replica, and disconnect."""
    pending = asyncio.create_task(made.post(headers=bearer(key)))
    await made.until_queued(1)
    pending.cancel()
    await made.until_queued(0)


async def test_a_client_that_leaves_does_not_take_back_the_replica_that_it_starts() -> None:
    """Ten minutes of clients that left kept the keys of a changed Secret out."""
    replica = Replica(keys={"Bearer new"})
    async with activator(keys=True) as made, replica.serving():
        made.publish_keys("old")
        pass_time(made, BELIEF_SECONDS)
        await leave_at_once(made, "made up")

        assert reported(made) == 1
        assert await status_of(made, "new") == (503, "unknown_api_key")
        made.make_ready(replica)
        assert reported(made) == 0
        made.no_replica()
        made.publish_keys("new", salt="B" * 16)
        assert reported(made) == 0
        pending = asyncio.create_task(made.post(headers=bearer("new")))
        await made.until_queued(1)
        made.make_ready(replica)
        assert (await pending)[0] == 201


@pytest.mark.parametrize(("max_wait", "seconds"), [(1, 60), (300, 300)])
async def test_if_its_start_fails_the_next_unknown_key_may_start_one(
    max_wait: int, seconds: int
) -> None:
    async with activator(keys=True, max_wait_seconds=max_wait) as made:
        made.publish_keys("right")
        pass_time(made, BELIEF_SECONDS)
        await leave_at_once(made, "made up")
        pass_time(made, seconds - 10)
        assert reported(made) == 1

        pass_time(made, 10)
        assert reported(made) == 0
        await leave_at_once(made, "new")
        assert reported(made) == 1


# --- Many keys ------------------------------------------------------------------------------------


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


async def test_a_client_beyond_the_limit_is_told_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mistral_operator.activator.key_checks._MAX_OF_SOURCE", 0)
    before = counted("unchecked_key")
    async with activator(keys=True) as made:
        made.publish_keys("right")
        status, headers, body = await made.post(CHAT, headers=bearer("right"))

    assert (status, headers["Retry-After"], error_of(body)["code"]) == (503, "2", "busy")
    assert counted("unchecked_key") == before + 1


async def test_a_key_that_a_replica_accepted_is_checked_before_all_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replica = Replica(keys={"Bearer right"})
    async with activator(keys=True) as made, replica.serving():
        made.make_ready(replica)
        assert (await made.post(headers=bearer("right")))[0] == 201
        made.no_replica()
        made.publish_keys("right")
        monkeypatch.setattr("mistral_operator.activator.key_checks._MAX_OF_SOURCE", 0)

        pending = asyncio.create_task(made.post(headers=bearer("right")))
        await made.until_queued(1)
        pending.cancel()
