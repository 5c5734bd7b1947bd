"""A day's traffic, served by one process with or without the gate, and what that process holds."""

import asyncio
import itertools
import random
from collections.abc import Iterator
from typing import Any

from gate_engine import FakeEngine, ask, choice, chunk, words
from held_memory import held_bytes
from mistral_server.gate import Gate
from mistral_server.gate.asgi import Application, Message, Receive, Scope, Send
from tool_call_corpus import corpus
from tool_call_wire import choices_of, chunks_of, request_of

AT_ONCE = 32
LOOKS = 10
NEW_SCHEMAS = 4_000
"""Requests with tools that are new to the gate, ahead of all others: then all caches are full."""

Asking = tuple[FakeEngine, dict[str, Any], int | None]
"""What an engine answers, what is asked, and after how many messages the client leaves."""


def held_by_server(requests: int, *, gated: bool) -> list[float]:
    """Return the MiB that this process holds after each tenth of the requests."""
    return asyncio.run(_serve_all(Gate(_serve) if gated else _serve, requests))


async def _serve_all(app: Application, requests: int) -> list[float]:
    random_ = random.Random(1)
    traffic, held = _traffic(random_), []
    await _ask_all(app, itertools.islice(_tools(random_, new=True), NEW_SCHEMAS))
    for _ in range(LOOKS):
        await _ask_all(app, itertools.islice(traffic, requests // LOOKS))
        held.append(held_bytes() / 2**20)
    return held


async def _ask_all(app: Application, all_: Iterator[Asking]) -> None:
    async def client() -> None:
        for engine, body, leaves in all_:
            await ask(_connected(app, engine), body, leaves_after=leaves)

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))


def _connected(app: Application, engine: FakeEngine) -> Application:
    """Return what a client talks to: it is heard of again only when it leaves."""

    async def connected(scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.Event()

        async def receive_next() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                await gone.wait()
            return message

        async def send_on(message: Message) -> None:
            try:
                await send(message)
            except OSError:
                gone.set()

        await app({**scope, "engine": engine}, receive_next, send_on)

    return connected


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as the request's engine does, and stop when the client leaves."""
    left: asyncio.Future[Message] | None = None

    async def send_and_wait(message: Message) -> None:
        nonlocal left
        left = left or asyncio.ensure_future(receive())
        await send(message)
        await asyncio.sleep(0)  # the turn of the others
        if left.done():
            raise ConnectionAbortedError

    try:
        await scope["engine"](scope, receive, send_and_wait)
    except ConnectionAbortedError:
        pass
    finally:
        if left is not None:
            left.cancel()


def _traffic(random_: random.Random) -> Iterator[Asking]:
    tools, new_tools = _tools(random_), _tools(random_, new=True)
    hello = {"messages": [{"role": "user", "content": "Hi"}]}
    while True:
        kind = random_.random()
        if kind < 0.4:
            yield next(tools if kind < 0.3 else new_tools)
        elif kind < 0.7:
            pieces = [chunk({"content": str(random_.random())}, [random_.randrange(9000)])] * 30
            pieces.append(chunk({}, [2], "stop"))
            yield FakeEngine(chunks=pieces), hello | {"stream": True}, None
        elif kind < 0.8:
            yield FakeEngine(chunks=words(600)), hello | {"stream": True}, None
        elif kind < 0.9:
            leaves = random_.randrange(1, 40)
            yield FakeEngine(chunks=words(60)), hello | {"stream": True}, leaves
        else:
            ids = [random_.randrange(9000) for _ in range(400)]
            yield FakeEngine([choice("x" * 900, ids=ids)]), hello, None


def _tools(random_: random.Random, *, new: bool = False) -> Iterator[Asking]:
    entries = corpus()
    while True:
        entry = random_.choice(entries)
        body = request_of(entry)
        for tool in body["tools"] if new else ():
            schema = tool["function"].get("parameters")
            if isinstance(schema, dict):
                tool["function"]["parameters"] = schema | {"title": str(random_.random())}
        chunks = chunks_of(entry) if entry.stream else None
        yield FakeEngine(choices_of(entry), chunks), body, None
