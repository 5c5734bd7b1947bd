"""A mixed load on one endpoint, in a process of its own: `python -m mistral_dev.panels.load`.

It runs in the network of the cluster, and reads from standard arguments where, how many clients,
for how long and which kinds of requests. Failures are part of what is recorded, and are counted.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import aiohttp

from mistral_dev.panels.requests import KINDS, Kind

_SECONDS = 300.0
"""For one request."""
_PAUSE_SECONDS = 0.3
"""Mean pause of a client between two requests."""


@dataclass(frozen=True)
class Load:
    """What is sent.

    Args:
        url: base URL of the endpoint.
        kinds: names of kinds of requests, each chosen with its weight.
        clients: requests at the same time.
        seconds: how long new requests begin.
    """

    url: str
    kinds: tuple[str, ...]
    clients: int
    seconds: float

    def command(self) -> list[str]:
        """Return the command that sends it."""
        return [sys.executable, "-m", "mistral_dev.panels.load", json.dumps(asdict(self))]


async def send(load: Load) -> Counter[str]:
    """Send the load, and return how many responses of each kind had which status."""
    counts: Counter[str] = Counter()
    kinds = [KINDS[name] for name in load.kinds]
    end = time.monotonic() + load.seconds
    limit = aiohttp.ClientTimeout(total=_SECONDS)
    # No connection is kept: each request may reach another replica.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=limit) as session:
        clients = (_client(session, load.url, kinds, end, counts) for _ in range(load.clients))
        await asyncio.gather(*clients)
    return counts


async def _client(
    session: aiohttp.ClientSession,
    url: str,
    kinds: Sequence[Kind],
    end: float,
    counts: Counter[str],
) -> None:
    weights = [kind.weight for kind in kinds]
    while time.monotonic() < end:
        (kind,) = random.choices(kinds, weights)  # noqa: S311 - no secret
        counts[f"{kind.name}: {await _status(session, url, kind)}"] += 1
        await asyncio.sleep(random.expovariate(1 / _PAUSE_SECONDS))


async def _status(session: aiohttp.ClientSession, url: str, kind: Kind) -> str:
    """Send one request and return its status, or how it ended without one."""
    headers = {"Content-Type": "application/json", **kind.headers}
    request = session.post(f"{url}{kind.path}", data=kind.body(), headers=headers)
    try:
        async with asyncio.timeout(kind.leaves_after), request as response:
            await response.read()
            return str(response.status)
    except TimeoutError:
        return "left"
    except aiohttp.ClientError as error:
        return type(error).__name__


def _main() -> None:
    arguments = json.loads(sys.argv[1])
    load = Load(**{**arguments, "kinds": tuple(arguments["kinds"])})
    print(json.dumps(asyncio.run(send(load)), indent=1))


if __name__ == "__main__":
    _main()
