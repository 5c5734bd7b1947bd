"""The load of a recording counts what it sends by kind and by how it ended."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mistral_dev.panels.load import Load, send
from mistral_dev.panels.requests import KINDS, MIXED


async def answer(request: web.Request) -> web.Response:
    """Answer as an endpoint does, slowly to a long generation."""
    if request.content_type != "application/json":
        return web.Response(status=415)
    try:
        body = await request.json()
    except json.JSONDecodeError:
        return web.Response(status=400)
    if body["model"] != "tiny":
        return web.Response(status=404)
    if body["max_tokens"] > 500:
        await asyncio.sleep(30)
    return web.Response(text="{}")


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Return the address of a server on loopback."""
    application = web.Application()
    application.router.add_post("/v1/chat/completions", answer)
    async with TestServer(application) as server:
        yield str(server.make_url("")).rstrip("/")


async def counts(url: str, *kinds: str, seconds: float = 0.2) -> Counter[str]:
    """Return what one client counts."""
    return await send(Load(url, kinds, clients=1, seconds=seconds))


@pytest.mark.parametrize(
    ("kind", "ending"), [("chat", "200"), ("no JSON", "400"), ("unknown model", "404")]
)
async def test_a_response_is_counted_by_its_status(url: str, kind: str, ending: str) -> None:
    assert set(await counts(url, kind)) == {f"{kind}: {ending}"}


async def test_a_client_that_leaves_is_counted_as_such(url: str) -> None:
    assert set(await counts(url, "client that leaves")) == {"client that leaves: left"}


async def test_an_endpoint_that_is_gone_is_a_failure_that_is_counted() -> None:
    (ending,) = await counts("http://127.0.0.1:9", "chat")

    assert ending == "chat: ClientConnectorError"


def test_every_kind_can_be_sent_and_names_what_it_needs() -> None:
    assert set(MIXED) <= set(KINDS)
    assert all(isinstance(kind.body(), bytes) and kind.weight > 0 for kind in KINDS.values())


def test_a_process_is_told_the_whole_load() -> None:
    command = Load("http://10.0.0.1:8000", ("chat",), 3, 1.5).command()

    assert json.loads(command[-1]) == {
        "url": "http://10.0.0.1:8000",
        "kinds": ["chat"],
        "clients": 3,
        "seconds": 1.5,
    }
