"""A router with the real Envoy: fake replicas and activators, and the names that lead to them.

Each test has loopback addresses of its own, since the ports are those in a cluster.
"""

import asyncio
import io
import itertools
import json
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from mistral_operator.api import Resource
from mistral_operator.kube import names
from mistral_operator.kube.names import HEALTH_PORT, HTTP_PORT
from mistral_operator.render.router.envoy import bootstrap
from mistral_operator.render.router.listeners import POD_IP

Object = dict[str, Any]

ENVOY = Path(sys.executable).with_name("envoy")

_networks = itertools.count(random.randrange(250))


def network() -> str:
    """Return the first three bytes of loopback addresses that no other process uses."""
    return f"127.{64 + os.getpid() % 180}.{next(_networks) % 250}"


@dataclass
class Backend:
    """A fake replica, or an activator, which has no health port."""

    address: str
    ready: bool = True
    requests: int = 0
    last: web.Request | None = None
    last_body: bytes = b""
    most: int = 0
    """The most requests at once."""
    _running: int = 0
    _runners: list[web.AppRunner] = field(default_factory=list)

    async def start(self, *, health: bool = True) -> None:
        """Listen."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._serve)
        await self._listen(app, HTTP_PORT)
        if health:
            checks = web.Application()
            checks.router.add_get("/readyz", self._readyz)
            await self._listen(checks, HEALTH_PORT)

    async def _listen(self, app: web.Application, port: int) -> None:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0, keepalive_timeout=5.0)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, self.address, port).start()

    async def stop(self) -> None:
        """End as if killed."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.ready else 503)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        self._running += 1
        self.most = max(self.most, self._running)
        try:
            self.last, self.last_body = request, await request.read()
            await asyncio.sleep(float(request.headers.get("x-test-seconds", "0")))
            if "x-test-chunks" in request.headers:
                return await self._stream(request)
            return web.json_response({"address": self.address})
        finally:
            self._running -= 1

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for each in range(int(request.headers["x-test-chunks"])):
            await response.write(f"data: {each}\n\n".encode())
            await asyncio.sleep(0.3)
        return response


class Names(asyncio.DatagramProtocol):
    """A DNS server for names with IPv4 addresses."""

    def __init__(self, addresses: dict[str, list[str]]) -> None:
        self.addresses = addresses
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what responses are sent with."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Respond to a question."""
        assert self._transport is not None
        name, end = _question(data)
        is_ipv4 = data[end : end + 2] == b"\x00\x01"
        match = self.addresses.get(name)
        records = [_record(one) for one in match or ()] if is_ipv4 else []
        flags = b"\x81\x80" if match is not None else b"\x81\x83"
        counts = b"\x00\x01" + len(records).to_bytes(2, "big") + b"\x00\x00\x00\x00"
        self._transport.sendto(
            data[:2] + flags + counts + data[12 : end + 4] + b"".join(records), addr
        )


def _question(data: bytes) -> tuple[str, int]:
    """Return the name in a question, and where it ends."""
    labels, at = [], 12
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels), at + 1


def _record(address: str) -> bytes:
    data = bytes(map(int, address.split(".")))
    return b"\xc0\x0c\x00\x01\x00\x01" + (5).to_bytes(4, "big") + b"\x00\x04" + data


@dataclass
class Router:
    """A running router, and what is behind it."""

    url: str
    health_url: str
    replicas: list[Backend]
    activator: Backend
    names: Names
    session: aiohttp.ClientSession
    process: asyncio.subprocess.Process

    async def post(self, body: Object | bytes, **headers: str) -> str:
        """Send a chat, and return the address of the backend that responded."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        path = f"{self.url}/v1/chat/completions"
        stream = io.BytesIO(data)
        async with self.session.post(path, data=stream, headers=headers) as response:
            assert response.status == 200, await response.text()
            return str((await response.json())["address"])

    async def metric(self, name: str) -> float:
        """Return the sum of a metric of Envoy."""
        async with self.session.get(f"{self.health_url}/metrics") as response:
            lines = (await response.text()).splitlines()
        return sum(float(one.split()[-1]) for one in lines if one.startswith((name, f"{name}{{")))

    async def until_healthy(self, number: int) -> None:
        """Wait until Envoy takes a number of backends for healthy."""
        # The activator, and the administration in a cluster of its own.
        healthy = number + 2

        async def reached() -> bool:
            return await self.metric("envoy_cluster_membership_healthy") == healthy

        await _until(reached)

    def spread(self) -> Counter[str]:
        """Return how many requests each replica got."""
        return Counter({one.address: one.requests for one in self.replicas})


@asynccontextmanager
async def running_router(
    resource: Resource, *, replicas: int = 3, ready: Sequence[int] | None = None
) -> AsyncIterator[Router]:
    """Run the router of a resource in front of fake replicas."""
    subnet = network()
    backends = [Backend(f"{subnet}.{each + 10}") for each in range(replicas)]
    activator = Backend(f"{subnet}.9")
    served = range(replicas) if ready is None else ready
    for each, backend in enumerate(backends):
        backend.ready = each in served
        await backend.start()
    await activator.start(health=False)
    addresses = {
        names.replicas_service(resource.name): [one.address for one in backends],
        names.activator_service(resource.name): [activator.address],
    }
    loop = asyncio.get_running_loop()
    transport, dns = await loop.create_datagram_endpoint(
        lambda: Names(addresses), local_addr=(f"{subnet}.1", 0)
    )
    process = await _envoy(resource, subnet, transport.get_extra_info("sockname"))
    try:
        async with aiohttp.ClientSession() as session:
            url, health = f"http://{subnet}.2:{HTTP_PORT}", f"http://{subnet}.2:{HEALTH_PORT}"
            router = Router(url, health, backends, activator, dns, session, process)
            await _until_ready(router)
            await router.until_healthy(len(served))
            yield router
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        transport.close()
        for backend in (*backends, activator):
            await backend.stop()


async def _envoy(
    resource: Resource, subnet: str, dns: tuple[str, int]
) -> asyncio.subprocess.Process:
    configuration = bootstrap(resource)
    configuration["typed_dns_resolver_config"] = {
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3"
            ".CaresDnsResolverConfig",
            "resolvers": [{"socket_address": {"address": dns[0], "port_value": dns[1]}}],
            "dns_resolver_options": {"no_default_search_domain": True},
        },
    }
    text = (
        json.dumps(configuration)
        .replace(f"$({POD_IP})", f"{subnet}.2")
        .replace('"127.0.0.1"', f'"{subnet}.3"')
        .replace("@envoy-admin", f"@envoy-admin-{subnet}")
    )
    command = [str(ENVOY), "--config-yaml", text, "--concurrency", "2", "--disable-hot-restart"]
    return await asyncio.create_subprocess_exec(
        *command, "--drain-strategy", "immediate", "--log-level", "warning"
    )


async def _until(reached: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so, which no event tells."""
    for _ in range(200):
        if await reached():
            return
        await asyncio.sleep(0.1)
    pytest.fail("it did not happen within 20 s")


async def _until_ready(router: Router) -> None:
    async def reached() -> bool:
        assert router.process.returncode is None, "Envoy has exited"
        try:
            async with router.session.get(f"{router.health_url}/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    await _until(reached)
