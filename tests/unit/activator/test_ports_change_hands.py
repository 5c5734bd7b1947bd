"""A port that another endpoint gets, and requests that are queued at one that is closed."""

import asyncio

import pytest

from activator_in_process import CHAT, HELLO, Activator, Replica, activator, error_of
from builders import NAME
from endpoint_slices import TERMS, mapped, slice_body
from mistral_operator.kube.objects import Key

OTHER = Key("other", NAME)
MODELS = "/v1/models"


async def give_away(made: Activator, replica: Replica) -> None:
    """Give the port to another endpoint with a replica, as an activator sees it that read no map
    in between."""
    made.entries[made.port] = mapped(OTHER, TERMS)
    made.endpoints.set_ports(made.entries)
    made.see(slice_body("127.0.0.1", port=replica.port, namespace="other"))
    await made.listeners.sync()


async def test_a_connection_that_is_kept_never_reaches_another_endpoint() -> None:
    async with activator() as made, Replica().serving() as stranger:
        async with made.client.get(made.url(MODELS)) as response:
            assert (response.status, response.headers.get("Connection")) == (200, None)

        await give_away(made, stranger)
        status, headers, body = await made.post(headers={"Authorization": "Bearer mine"})

        assert (status, headers["Connection"]) == (503, "close")
        assert error_of(body)["code"] == "unavailable"
        assert stranger.received == []


async def test_a_connection_that_was_idle_meanwhile_does_not_either() -> None:
    """As of a client that connects in advance."""
    async with activator() as made, Replica().serving() as stranger:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        await asyncio.sleep(0.05)

        await give_away(made, stranger)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
        )

        assert (await reader.readline()).split()[1] == b"503"
        assert stranger.received == []
        writer.close()


async def test_a_new_connection_reaches_the_endpoint_that_has_the_port_now() -> None:
    async with activator() as made, Replica().serving() as stranger:
        await give_away(made, stranger)

        assert (await made.post())[0] == 201
        assert len(stranger.received) == 1


@pytest.mark.parametrize("comes_back", [True, False], ids=["it comes back", "it does not"])
async def test_a_request_whose_port_is_gone_from_the_map_still_gets_its_replica(
    comes_back: bool,
) -> None:
    """Someone edited the map, or `spec.gate.paths` became too long for it."""
    async with activator() as made, Replica().serving() as replica:
        pending = asyncio.create_task(made.client.post(made.url(CHAT), json=HELLO))
        await made.until_queued(1)

        made.endpoints.set_ports({})
        if comes_back:
            made.endpoints.set_ports(made.entries)
        made.make_ready(replica)

        async with asyncio.timeout(5), await pending as response:
            assert response.status == 201
