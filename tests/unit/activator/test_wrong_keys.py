"""Which API keys start a replica, once its replicas have published digests of their keys."""

import asyncio

import pytest

from activator_in_process import CHAT, Activator, Replica, activator, counted, error_of
from mistral_operator.activator.endpoints import BELIEF_SECONDS


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


@pytest.mark.parametrize(("max_wait", "seconds"), [(30, 60), (300, 300)])
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
