"""The load generator counts a stream as good only if it came to its end."""

import asyncio
from itertools import cycle

from aiohttp import web
from aiohttp.test_utils import TestServer

from mistral_dev.gpu import load

HEAD = b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n'
TOKEN = b'data: {"choices":[{"delta":{"content":"\\"error\\": x"}}],"usage":null}\n\n'
USAGE = b'data: {"choices":[],"usage":{"completion_tokens":2}}\n\n'
ERROR = b'data: {"error":{"message":"EngineCore encountered an issue.","code":500}}\n\n'
DONE = b"data: [DONE]\n\n"

GOOD = HEAD + TOKEN + TOKEN + USAGE + DONE


async def sent(*streams: bytes) -> load.Times:
    """Return the times of as many requests as there are streams, one answered with each."""
    bodies = cycle(streams)

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=next(bodies), content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("/v1/chat/completions"))
        batch = load.Load(url, "m", at_once=1, requests=len(streams), words=3, tokens=2)
        return await asyncio.to_thread(load.run_load, batch, 1, {})


async def test_a_stream_that_ends_in_an_error_or_without_usage_has_failed() -> None:
    times = await sent(GOOD, HEAD + TOKEN + ERROR + DONE, GOOD, HEAD + TOKEN + TOKEN + DONE, b"")

    assert times.failed == 3
    assert (len(times.firsts), len(times.gaps), times.tokens) == (2, 2, 4)
