"""Clients that send one request after the other, as a program: where a Service can be reached.

    python steady_clients.py http://10.77.32.9:8000 tiny chat stream

It prints each outcome as a line of JSON. When its standard input ends, no request begins any more,
and it ends with the last response.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp

from steady_outcomes import OK, Outcome

PAUSE_AFTER_FAILURE = 0.1
"""Seconds: a client that is refused tries again, and does not spin."""

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 900.0
"""Longer than anything may hold a request."""


@dataclass(frozen=True)
class Client:
    """A kind of client."""

    count: int
    tokens: int = 8
    """Tokens of each response; 0 for a list of the models."""
    stream: bool = False
    kept: bool = False
    """Whether the connection is used again, which never leads to another address."""
    pause: float = 0.05
    """Seconds between a response and the next request."""
    every: float | None = None
    """Seconds from request to request, answered or not."""


CLIENTS = {
    # The worst case: each request on a connection of its own.
    "chat": Client(2),
    "kept chat": Client(2, kept=True),
    # Within the five seconds that uvicorn keeps an idle connection.
    "slow kept chat": Client(1, kept=True, pause=2.5),
    # Longer than that, and within the 30 seconds of the activator.
    "idle kept chat": Client(1, kept=True, pause=12),
    # A stream that takes as long as a rollout may take to begin.
    "stream": Client(1, tokens=400, stream=True),
    "kept stream": Client(1, tokens=150, stream=True, kept=True),
    # What sees gaps between two addresses, since it never waits for a response.
    "models": Client(1, tokens=0, every=0.05),
}


class Clients:
    """The clients of one endpoint."""

    def __init__(self, url: str, model: str) -> None:
        self._url = url
        self._model = model
        self._over = asyncio.Event()

    async def run(self, kinds: list[str]) -> None:
        """Send requests until the standard input ends."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_standard_input())
            for kind in kinds:
                client = CLIENTS[kind]
                work = self._repeat if client.every is None else self._tick
                for _ in range(client.count):
                    tasks.create_task(work(kind, client))

    async def _read_standard_input(self) -> None:
        await asyncio.to_thread(sys.stdin.read)
        self._over.set()

    async def _repeat(self, kind: str, client: Client) -> None:
        async with session_of(kept=client.kept) as session:
            while not self._over.is_set():
                outcome = await self.send(session, kind, client)
                await asyncio.sleep(PAUSE_AFTER_FAILURE if outcome.failed else client.pause)

    async def _tick(self, kind: str, client: Client) -> None:
        async with asyncio.TaskGroup() as tasks, session_of(kept=client.kept) as session:
            sent = []
            while not self._over.is_set():
                sent.append(tasks.create_task(self.send(session, kind, client)))
                await asyncio.sleep(client.every or 0)
            await asyncio.wait(sent)

    async def send(self, session: aiohttp.ClientSession, kind: str, client: Client) -> Outcome:
        """Send a request, and return and print what came of it."""
        began, started = time.time(), time.monotonic()
        seen: dict[str, Any] = {}
        try:
            result = await self._request(session, client, started, seen)
        except TimeoutError as error:
            result, seen["detail"] = "silent", repr(error)
        except aiohttp.ClientConnectorError as error:
            is_refused = isinstance(error.os_error, ConnectionRefusedError)
            result, seen["detail"] = "refused" if is_refused else "unreachable", repr(error)
        except aiohttp.ServerDisconnectedError as error:
            result, seen["detail"] = "closed", repr(error)
        except aiohttp.ClientPayloadError as error:
            result, seen["detail"] = "cut", repr(error)
        except (aiohttp.ClientError, OSError) as error:
            result, seen["detail"] = "cut" if "first_seconds" in seen else "reset", repr(error)
        outcome = Outcome(kind, began, time.monotonic() - started, result, **seen)
        print(json.dumps(asdict(outcome)), flush=True)
        return outcome

    async def _request(
        self, session: aiohttp.ClientSession, client: Client, started: float, seen: dict[str, Any]
    ) -> str:
        """Send a request and return its result; `seen` gets the other fields of the outcome."""
        method, path = ("POST", "chat/completions") if client.tokens else ("GET", "models")
        body = self._chat(client) if client.tokens else None
        async with session.request(method, f"{self._url}/v1/{path}", json=body) as response:
            text = bytearray()
            async for piece in response.content.iter_any():
                seen.setdefault("first_seconds", time.monotonic() - started)
                text += piece
        if response.status != 200:
            seen["retry_after"] = response.headers.get("Retry-After")
            seen["detail"] = text.decode(errors="replace")[:500]
            return str(response.status)
        if not _is_complete(bytes(text), client):
            seen["detail"] = text.decode(errors="replace")[-500:]
            return "cut"
        return OK

    def _chat(self, client: Client) -> dict[str, Any]:
        return {
            "model": self._model,
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": client.tokens,
            "ignore_eos": True,
            "stream": client.stream,
        }


def _is_complete(text: bytes, client: Client) -> bool:
    """Return whether a response says itself that it is complete."""
    if client.stream:
        return b'"finish_reason":"length"' in text and text.rstrip().endswith(b"data: [DONE]")
    document = json.loads(text)
    if not client.tokens:
        return bool(document["data"])
    return bool(document["choices"][0]["finish_reason"] == "length")


@asynccontextmanager
async def session_of(*, kept: bool) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session whose connections are used again, or once."""
    connector = aiohttp.TCPConnector(limit=0, force_close=not kept)
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS, sock_connect=_CONNECT_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session


if __name__ == "__main__":
    _url, _model, *_kinds = sys.argv[1:]
    asyncio.run(Clients(_url, _model).run(_kinds or list(CLIENTS)))
