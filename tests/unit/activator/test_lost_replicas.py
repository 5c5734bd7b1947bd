"""Requests to a ready replica that is gone: the activator judges them as at zero."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from activator_in_process import CHAT, Activator, Replica, activator
from mistral_operator.activator import proxy
from mistral_operator.activator.endpoints import BELIEF_SECONDS

KEY = {"Authorization": "Bearer a-key"}


async def status_of(made: Activator, method: str, path: str, headers: dict[str, str]) -> int:
    """Return the status of a response that must come without a replica."""
    async with (
        asyncio.timeout(5),
        made.client.request(method, made.url(path), headers=headers) as response,
    ):
        return response.status


async def lose(made: Activator) -> None:
    """Let a replica be ready that refuses connections, and then leave the slices."""
    made.make_ready(Replica())
    await asyncio.sleep(0.2)
    made.no_replica()


@pytest.mark.parametrize("digests", [True, False], ids=["digests", "no digests"])
@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/health", {}, 200),
        ("OPTIONS", CHAT, {}, 204),
        ("POST", "/pause", KEY, 404),
        ("POST", CHAT, {}, 401),
        ("GET", CHAT, KEY, 503),
    ],
)
async def test_what_a_lost_replica_did_not_judge_starts_none(
    digests: bool, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """A replica that crashed stays in the slices for a moment, and refuses connections."""
    async with activator(keys=True) as made:
        if digests:
            made.publish_keys("a-key")
        made.make_ready(Replica())
        pending = asyncio.create_task(status_of(made, method, path, headers))
        await asyncio.sleep(0.2)
        assert not pending.done()
        made.no_replica()

        assert await pending == status
        assert made.endpoint.held == 0


@pytest.mark.parametrize(("key", "queued"), [("a-key", True), ("wrong", False)])
async def test_a_key_that_a_lost_replica_did_not_judge_is_checked(key: str, queued: bool) -> None:
    async with activator(keys=True) as made, Replica().serving() as replica:
        made.publish_keys("a-key")
        made.make_ready(Replica())
        headers = {"Authorization": f"Bearer {key}"}
        pending = asyncio.create_task(made.post(headers=headers))
        await asyncio.sleep(0.2)
        made.no_replica()

        if queued:
            await made.until_queued(1)
            made.make_ready(replica)
        assert (await pending)[0] == (201 if queued else 401)


async def test_a_queued_request_is_judged_once_and_survives_a_lost_replica() -> None:
    """With another check, the one unknown key that may start a replica would be rejected."""
    async with activator(keys=True) as made, Replica().serving() as replica:
        made.publish_keys("old")
        before = made.endpoint.clock
        made.endpoint.clock = lambda: before() + BELIEF_SECONDS
        pending = asyncio.create_task(made.post(headers={"Authorization": "Bearer new"}))
        await made.until_queued(1)
        await lose(made)
        await made.until_queued(1)
        made.make_ready(replica)

        assert (await pending)[0] == 201


@contextmanager
def port_without_answers() -> Iterator[int]:
    """Listen at a port whose queue of connections is full: the kernel drops further ones."""
    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        first.connect(listener.getsockname())
        yield listener.getsockname()[1]


async def test_a_request_whose_replica_does_not_answer_the_connection_reaches_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of a pod whose node is lost, or whose network is taken down while it stops."""
    monkeypatch.setattr(proxy, "_CONNECT_SECONDS", 0.2)
    with port_without_answers() as port:
        async with activator() as made, Replica().serving() as replica:
            made.make_ready(Replica(port=port))
            pending = asyncio.create_task(made.post())
            await asyncio.sleep(0.5)
            made.make_ready(replica)

            assert (await pending)[0] == 201
            assert len(replica.received) == 1
