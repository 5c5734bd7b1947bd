"""At most one replica writes, whatever happens to its process, its clock or the API server."""

import asyncio
import time
from collections.abc import Callable

import pytest

from builders import resource_body
from lease_replicas import FENCE_SECONDS, LEASE_SECONDS, pass_seconds, two_replicas
from lease_server import LeaseServer
from mistral_operator.kube.errors import Fenced
from mistral_operator.process import leader_election
from mistral_operator.process.leader_election import LeaseLost


async def test_the_first_replica_creates_the_lease_and_the_second_is_on_standby() -> None:
    server = LeaseServer()
    async with two_replicas(server) as (first, second):
        assert not first.may_write
        assert await first.attempt()
        assert not await second.attempt()

        assert (first.may_write, second.may_write) == (True, False)
        assert server.holder == "first"


async def test_a_leader_that_was_stopped_finds_its_fence_closed_when_it_continues() -> None:
    async with two_replicas(LeaseServer()) as (first, second):
        await first.attempt()
        await second.attempt()
        pass_seconds(LEASE_SECONDS, first, second)

        assert await second.attempt()

        assert (first.may_write, second.may_write) == (False, True)
        with pytest.raises(Fenced, match="not renewed in time"):
            await first.cluster.apply(resource_body(), force=True)
        assert not await first.attempt()
        assert first.lock.is_held_by_other


async def test_the_fence_closes_before_another_replica_may_take_the_lease() -> None:
    async with two_replicas(LeaseServer()) as (first, second):
        await first.attempt()
        await second.attempt()

        pass_seconds(FENCE_SECONDS, first, second)

        assert not first.may_write
        assert not await second.attempt()


async def test_the_time_counts_from_before_the_renewal_was_sent() -> None:
    server = LeaseServer()
    async with two_replicas(server) as (first, _):
        server.hang_seconds = 0.2
        renewal = asyncio.create_task(first.attempt())
        await asyncio.sleep(0.3)  # the Lease was read; now it is written
        pass_seconds(5, first)

        assert await renewal
        assert first.cluster.fence.seconds_left == pytest.approx(FENCE_SECONDS - 5)


@pytest.mark.parametrize("shift", [-86_400, -60, 60, 86_400])
async def test_the_wall_clock_has_no_effect(shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_replicas(LeaseServer()) as (first, second):
        await first.attempt()
        await second.attempt()
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + shift)

        assert not await second.attempt(), "the leader is healthy"
        assert await first.attempt()
        assert not await second.attempt()
        pass_seconds(LEASE_SECONDS, second)
        assert await second.attempt(), "the leader was silent"


async def test_a_longer_lease_of_another_release_is_respected() -> None:
    server = LeaseServer()
    async with two_replicas(server) as (first, second):
        await first.attempt()
        assert server.lease is not None
        server.lease["spec"]["leaseDurationSeconds"] = 60
        await second.attempt()
        pass_seconds(59, second)
        assert not await second.attempt()
        pass_seconds(1, second)
        assert await second.attempt()


async def test_a_lease_that_was_deleted_is_not_created_by_another_replica_immediately() -> None:
    server = LeaseServer()
    async with two_replicas(server) as (first, second):
        await first.attempt()
        await second.attempt()
        server.lease = None

        assert not await second.attempt()
        assert await first.attempt(), "its holder creates it again"


async def test_a_lease_without_a_spec_is_acquired() -> None:
    lease = {"metadata": {"name": "mistral-small-operator", "resourceVersion": "0"}}
    server = LeaseServer(lease)
    async with two_replicas(server) as (first, _):
        assert await first.attempt()
        assert server.holder == "first"


async def test_one_of_two_replicas_acquires_an_expired_lease() -> None:
    server = LeaseServer()
    async with two_replicas(server) as (first, second):
        await first.attempt()
        first.lock.identity = "successor"
        await first.attempt()
        await second.attempt()
        pass_seconds(LEASE_SECONDS, first, second)

        taken = await asyncio.gather(first.attempt(), second.attempt())

        assert sorted(taken) == [False, True]
        assert first.may_write != second.may_write


async def test_a_leader_survives_an_outage_in_which_no_other_replica_acquired_the_lease() -> None:
    server = LeaseServer()
    async with two_replicas(server) as (first, second):
        await first.attempt()
        await second.attempt()
        server.status = 503
        pass_seconds(300, first, second)
        assert not await first.attempt()
        assert not await second.attempt()
        assert not first.may_write
        server.status = 200

        assert await first.attempt()
        assert first.may_write
        assert not await second.attempt(), "the Lease was renewed"


async def test_a_lease_request_that_hangs_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    server = LeaseServer(hang_seconds=30)
    async with two_replicas(server) as (first, _):
        monkeypatch.setattr(first.lock, "_timeout", 0.2)

        assert not await first.attempt()
        assert not first.cluster.availability.reachable


async def test_refused_connections_stop_no_replica() -> None:
    async with two_replicas(LeaseServer()) as (first, _):
        await first.attempt()
        first.cluster.client.configuration.host = "http://127.0.0.1:9"

        assert not await first.attempt()
        assert first.may_write, "what was renewed a moment ago still holds"


async def test_a_replica_that_sees_another_holder_stops_leading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leader_election, "_RENEW_SECONDS", 0.01)
    server = LeaseServer()
    async with two_replicas(server) as (first, _):
        running = asyncio.create_task(first.election.run())
        await server.written.wait()
        assert server.lease is not None
        server.take({**server.lease, "spec": {**server.lease["spec"], "holderIdentity": "other"}})

        with pytest.raises(ExceptionGroup) as raised:
            await asyncio.wait_for(running, 5)

        assert raised.group_contains(LeaseLost, match="other holds the Lease")
        assert server.holder == "other", "what is not ours is not released"


def nothing(_: LeaseServer) -> None:
    """Leave the Lease where it is."""


def delete(server: LeaseServer) -> None:
    """Delete the Lease."""
    server.lease = None


BEFORE_THE_OTHER = {"the Lease stays": nothing, "the Lease is created anew": delete}


@pytest.mark.parametrize("before", BEFORE_THE_OTHER.values(), ids=BEFORE_THE_OTHER)
async def test_a_leader_that_was_cut_off_while_another_one_led_stops_leading(
    before: Callable[[LeaseServer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader_election, "_RENEW_SECONDS", 0.01)
    server = LeaseServer()
    async with two_replicas(server) as (first, second):
        await first.attempt()
        await second.attempt()
        before(server)
        pass_seconds(LEASE_SECONDS, first, second)
        assert await second.attempt()
        await second.lock.release()

        with pytest.raises(LeaseLost, match=r"another replica held the Lease .* meanwhile"):
            await asyncio.wait_for(first.election.renew_loop(), 5)

        assert not first.may_write, "it does not know what the other one wrote"
        assert server.writes == ["first", "second", ""]


async def test_a_leader_whose_lease_has_no_holder_any_more_acquires_it_again() -> None:
    server = LeaseServer()
    async with two_replicas(server) as (first, _):
        await first.attempt()
        assert server.lease is not None
        server.take({**server.lease, "spec": {**server.lease["spec"], "holderIdentity": ""}})

        assert await first.attempt()
        assert await first.attempt(), "no other replica led meanwhile"
        assert first.may_write


async def test_a_leader_that_stops_releases_the_lease() -> None:
    server = LeaseServer()
    async with two_replicas(server) as (first, second):
        running = asyncio.create_task(first.election.run())
        await server.written.wait()
        await second.attempt()

        running.cancel()
        await asyncio.wait({running})

        assert not first.may_write
        assert server.writes == ["first", ""]
        assert await second.attempt()


async def test_a_leader_keeps_its_lease_after_an_outage_for_both_replicas() -> None:
    async with two_replicas(LeaseServer()) as (first, second):
        await first.attempt()
        await second.attempt()
        for one in (first, second):
            host = one.cluster.client.configuration.host
            one.cluster.client.configuration.host = "http://127.0.0.1:9"
            assert not await one.attempt()
            one.cluster.client.configuration.host = host
        pass_seconds(60, first, second)

        assert not await second.attempt(), "the leader could not renew either"
        assert await first.attempt()


async def test_a_lease_that_is_not_renewed_after_an_outage_is_acquired() -> None:
    async with two_replicas(LeaseServer()) as (first, second):
        await first.attempt()
        await second.attempt()
        host = second.cluster.client.configuration.host
        second.cluster.client.configuration.host = "http://127.0.0.1:9"
        assert not await second.attempt()
        second.cluster.client.configuration.host = host
        pass_seconds(60, second)
        assert not await second.attempt()

        pass_seconds(5, second)

        assert await second.attempt()


async def test_a_write_does_not_outlive_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    server = LeaseServer()
    async with two_replicas(server) as (first, _):
        await first.attempt()
        server.hang_seconds = 30
        first.cluster.fence.open_until(first.clock.now + 0.2)

        started = time.monotonic()
        with pytest.raises(Exception, match="TimeoutError"):
            await first.cluster.post_event("models", {})

        assert time.monotonic() - started < 10


@pytest.mark.parametrize("exists", [True, False], ids=["to renew", "to create"])
async def test_a_missing_permission_is_logged_once_with_the_message_of_the_api_server(
    exists: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server = LeaseServer()
    async with two_replicas(server) as (first, _):
        if exists:
            await first.attempt()
        server.status, server.message = 403, 'User "u" cannot get resource "leases"'
        for _ in range(3):
            assert not await first.attempt()

        assert caplog.text.count('cannot get resource "leases"') == 1
        (record,) = (one for one in caplog.records if "cannot get" in one.getMessage())
        assert record.levelname == "WARNING"

        server.status = 200
        assert await first.attempt()
        server.status = 403
        assert not await first.attempt()
        assert caplog.text.count('cannot get resource "leases"') == 2, "it is news again"


async def test_a_collision_of_lease_writes_is_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with two_replicas(LeaseServer()) as (first, second):
        await asyncio.gather(first.attempt(), second.attempt())

    assert [one for one in caplog.records if one.levelname == "WARNING"] == []
