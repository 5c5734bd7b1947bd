"""The real Envoy with the configuration that is rendered, in front of fake replicas."""

import asyncio
import json
from collections import Counter
from typing import Any

import aiohttp
import pytest

from builders import Object, resource
from mistral_operator.render.router.conversation import MAX_BODY
from router_in_test import Router, running_router

pytestmark = pytest.mark.process


def routed(policy: str, **spec: Any) -> Any:
    """Return an endpoint with a policy."""
    return resource({"routing": {"policy": policy}, **spec})


def chat(conversation: object, turn: int = 0, *, role_first: bool = True) -> Object:
    """Return a request of a conversation, with a system prompt that all conversations share."""

    def message(role: str, content: str) -> Object:
        fields = [("role", role), ("content", content)]
        return dict(fields if role_first else reversed(fields))

    turns = [
        message(*one)
        for each in range(turn)
        for one in (("assistant", f"answer {each}"), ("user", f"question {each}"))
    ]
    system = message("system", "You are {helpful}. " * 100)
    return {"messages": [system, message("user", f"about {conversation}"), *turns], "model": "m"}


@pytest.mark.parametrize("role_first", [True, False], ids=["role first", "content first"])
async def test_the_turns_of_a_conversation_meet_the_same_replica(role_first: bool) -> None:
    async with running_router(routed("Prefix")) as router:
        homes: dict[int, str] = {}
        same = 0
        for turn in range(10):
            for each in range(50):
                address = await router.post(chat(each, turn, role_first=role_first))
                same += homes.setdefault(each, address) == address

        assert same >= 0.99 * 500
        assert min(router.spread().values()) >= 0.15 * 500, "conversations spread over replicas"


async def test_a_session_meets_the_same_replica_whatever_it_says() -> None:
    async with running_router(routed("Session")) as router:
        for session in ("a", "b", "c", "d"):
            met = {await router.post(chat(each), **{"x-session-id": session}) for each in range(20)}
            assert len(met) == 1


async def test_a_session_counts_before_the_conversation() -> None:
    async with running_router(routed("Prefix")) as router:
        met = {await router.post(chat(each), **{"x-session-id": "a"}) for each in range(20)}

        assert len(met) == 1


async def arriving(router: Router, number: int, **headers: str) -> Counter[str]:
    """Send requests of one conversation one after the other, each of which takes 1.5 s."""

    async def one(each: int) -> str:
        await asyncio.sleep(each * 0.03)
        return await router.post(chat("hot"), **{"x-test-seconds": "1.5", **headers})

    return Counter(await asyncio.gather(*map(one, range(number))))


@pytest.mark.parametrize("policy", ["Prefix", "Session"])
async def test_a_hot_conversation_spreads_over_replicas(policy: str) -> None:
    async with running_router(routed(policy)) as router:
        # Requests that wait for a connection do not count, so connections are there.
        await arriving(router, 30, **{"x-session-id": "warm"})
        for one in router.replicas:
            one.requests = one.most = 0

        spread = await arriving(router, 60, **{"x-session-id": "hot"})

        # The average is 20, and a replica passes on what is beyond 1.25 times the average.
        assert len(spread) == 3
        assert max(spread.values()) <= 32


async def test_the_fewest_requests_win_where_that_is_the_policy() -> None:
    async with running_router(routed("LeastRequest")) as router:
        spread = await arriving(router, 30)

        assert max(spread.values()) - min(spread.values()) <= 2


ODD: dict[str, bytes] = {
    "empty": b"",
    "no chat": b'{"prompt": "Once upon a time"}',
    "no JSON": b"\x00\xff}{" * 50,
    "no user": b'{"messages": [{"role": "system", "content": "x"}]}',
    "cut": b'{"messages": [{"role":"user"',
    "large": b"{" + b"x" * (MAX_BODY + 1),
    "20 MB": b"x" * 20_000_000,
}


@pytest.mark.parametrize("policy", ["LeastRequest", "Session", "Prefix"])
async def test_every_body_arrives_as_it_was_sent(policy: str) -> None:
    async with running_router(routed(policy)) as router:
        for body in ODD.values():
            address = await router.post(body)

            (replica,) = [one for one in router.replicas if one.address == address]
            assert replica.last_body == body


async def test_a_body_without_a_length_arrives() -> None:
    async def parts() -> Any:
        for _ in range(64):
            yield b"x" * 65536

    async with running_router(routed("Prefix")) as router:
        url = f"{router.url}/v1/chat/completions"
        async with router.session.post(url, data=parts()) as response:
            address = (await response.json())["address"]

        (replica,) = [one for one in router.replicas if one.address == address]
        assert len(replica.last_body) == 64 * 65536


async def test_a_stream_passes_chunk_by_chunk() -> None:
    async with running_router(routed("Prefix")) as router:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with router.session.post(
            f"{router.url}/v1/chat/completions", json=chat(1), headers={"x-test-chunks": "4"}
        ) as response:
            at = [loop.time() - began async for _ in response.content.iter_any()]

        assert len(at) == 4
        assert at[0] < 0.25
        assert at[3] - at[0] > 0.6


async def test_a_killed_replica_costs_no_request_that_had_sent_nothing() -> None:
    async with running_router(routed("Prefix")) as router:
        homes = {each: await router.post(chat(each)) for each in range(40)}
        (victim,) = [one for one in router.replicas if one.address == homes[0]]
        await victim.stop()

        after = {each: await router.post(chat(each)) for each in range(40)}

        assert victim.address not in after.values()
        stayed = [each for each, home in homes.items() if home != victim.address]
        assert all(after[each] == homes[each] for each in stayed), "only its own move"


async def test_activators_get_requests_only_while_no_replica_is_ready() -> None:
    async with running_router(routed("Prefix"), ready=[]) as router:
        assert await router.post(chat(1)) == router.activator.address

        router.replicas[1].ready = True
        await router.until_healthy(1)
        met = {await router.post(chat(each)) for each in range(30)}
        assert met == {router.replicas[1].address}, "one of three is enough"

        router.replicas[1].ready = False
        await router.until_healthy(0)
        assert await router.post(chat(1)) == router.activator.address


async def test_an_unready_replica_gets_no_new_request_and_finishes_its_own() -> None:
    async with running_router(routed("LeastRequest"), replicas=1) as router:
        running = asyncio.create_task(router.post(chat(1), **{"x-test-seconds": "8"}))
        await asyncio.sleep(0.2)
        router.replicas[0].ready = False
        await router.until_healthy(0)

        assert await router.post(chat(2)) == router.activator.address
        assert await running == router.replicas[0].address


async def test_a_replica_that_leaves_the_names_gets_no_request_though_it_is_ready() -> None:
    """Another endpoint may have its address by then."""
    async with running_router(routed("LeastRequest"), replicas=2) as router:
        gone = router.replicas[1].address
        router.names.addresses["small-replicas"].remove(gone)
        await router.until_healthy(1)

        met = {await router.post(chat(each)) for each in range(20)}

        assert gone not in met


HEADERS = {
    "priority": ("x-vllm-priority", "-5", None),
    "another endpoint": ("x-mistral-endpoint", "theirs/other", "models/small"),
    "request id": ("x-request-id", "mine-1", "mine-1"),
    "key": ("authorization", "Bearer secret", "Bearer secret"),
}


async def test_headers_that_a_client_must_not_set_are_removed_and_others_are_kept() -> None:
    async with running_router(routed("Prefix"), replicas=1) as router:
        sent = {name: value for name, value, _ in HEADERS.values()}
        await router.post(chat(1), **sent)

        last = router.replicas[0].last
        assert last is not None
        got = {name: last.headers.get(name) for name in sent}
        assert got == {name: expected for name, _, expected in HEADERS.values()}


async def test_a_client_does_not_choose_the_hash_of_its_conversation() -> None:
    async with running_router(routed("Prefix"), replicas=1) as router:
        hashes = []
        for forged in ("7", "8"):
            await router.post(chat(1), **{"x-mistral-conversation": forged})
            last = router.replicas[0].last
            assert last is not None
            hashes.append(last.headers["x-mistral-conversation"])

        assert hashes[0] == hashes[1] != "7"


async def test_the_address_of_the_client_is_the_last_one() -> None:
    """The gate writes the last addresses; those further left are claims."""
    async with running_router(routed("Prefix"), replicas=1) as router:
        await router.post(chat(1), **{"x-forwarded-for": "203.0.113.7"})

        last = router.replicas[0].last
        assert last is not None
        claimed, *nearest = last.headers["x-forwarded-for"].split(",")
        assert claimed == "203.0.113.7"
        assert len(nearest) == 1


async def test_an_error_of_the_router_has_the_form_of_openai() -> None:
    async with running_router(routed("Prefix"), replicas=1) as router:
        await router.replicas[0].stop()
        await router.activator.stop()

        async with router.session.post(f"{router.url}/v1/chat/completions", json={}) as response:
            assert response.status == 503
            error = json.loads(await response.text())["error"]

        assert (error["type"], error["code"]) == ("server_error", "router_error")


async def test_a_router_that_stops_closes_connections_and_cuts_no_response() -> None:
    """The kubelet calls /drain, and sends SIGTERM when that has responded."""
    async with running_router(routed("Prefix", drainSeconds=3)) as router:
        loop = asyncio.get_running_loop()
        began = loop.time()
        hook = asyncio.create_task(_drain(router))
        running = asyncio.create_task(router.post(chat(1), **{"x-test-seconds": "2"}))
        await asyncio.sleep(0.5)

        async with router.session.post(f"{router.url}/v1/chat/completions", json={}) as response:
            assert (response.status, response.headers["connection"]) == (200, "close")
        assert await running
        assert await hook == 200
        assert loop.time() - began >= 3.0


async def _drain(router: Router) -> int:
    async with router.session.get(f"{router.health_url}/drain") as response:
        return response.status


async def test_the_administration_of_envoy_cannot_be_reached() -> None:
    async with running_router(routed("Prefix"), replicas=1) as router:
        for path in ("/quitquitquit", "/config_dump", "/", "/ready/../quitquitquit"):
            async with router.session.post(f"{router.health_url}{path}") as response:
                assert response.status == 404
        with pytest.raises(aiohttp.ClientError):
            await router.session.get(router.url.replace(":8000", ":9901"))
