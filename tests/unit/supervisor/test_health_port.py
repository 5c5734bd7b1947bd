"""The pod's health port beside clients that send nothing, half a request or too much of one."""

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from mistral_server.contract import ServerSettings
from mistral_server.engine.addresses import every_address
from mistral_server.supervisor.health import serve_health
from mistral_server.supervisor.metrics import ServerMetrics
from mistral_server.supervisor.state import ServerState
from raw_client import ask, eventually_aborted, idle_connections, unread_connections
from server_runner import server_settings

PROBES = {"/livez": 200, "/readyz": 503, "/startupz": 503, "/signals": 200, "/metrics": 200}


@asynccontextmanager
async def health_port(directory: Path) -> AsyncIterator[int]:
    """Serve the health port of a server that is starting; yield its port."""
    settings: ServerSettings = server_settings(directory)
    state = ServerState(settings)
    async with serve_health(state, ServerMetrics(state)):
        yield settings.health_port


@pytest.fixture
def few_open_files() -> Iterator[None]:
    """Have the limit of open files that containers often have."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Both ends of each connection are open in this process.
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2048, limits[1]), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def request(path: str, headers: bytes = b"") -> bytes:
    """Return a request as the kubelet sends it."""
    return b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (path.encode(), headers)


@pytest.mark.parametrize("sent", [b"", b"GET /li", request("/livez")[:-2]], ids=str)
async def test_probes_are_answered_beside_more_idle_connections_than_open_files(
    few_open_files: None, tmp_path: Path, sent: bytes
) -> None:
    async with health_port(tmp_path) as port, AsyncExitStack() as stack:
        await idle_connections(stack, port, 1_100, sent)

        got = {path: (await ask(port, request(path))).status for path in PROBES}

    assert got == PROBES


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_probes_are_answered_over_ipv4_and_ipv6(tmp_path: Path, address: str) -> None:
    settings = server_settings(tmp_path, host="")
    state = ServerState(settings)
    async with serve_health(state, ServerMetrics(state)):
        try:
            reader, writer = await asyncio.open_connection(address, settings.health_port)
        except OSError:
            assert ":" in address and every_address() == "0.0.0.0"  # noqa: PT018, S104
            pytest.skip("this machine has no IPv6")
        writer.write(request("/livez"))
        answer = await reader.readline()
        writer.close()

    assert answer == b"HTTP/1.1 200 OK\r\n"


async def test_a_head_without_end_is_refused(tmp_path: Path) -> None:
    async with health_port(tmp_path) as port:
        assert (await ask(port, request("/livez", b"A: %s\r\n" % (b"x" * 700) * 100))).status == 431
        assert (await ask(port, request("/livez"))).status == 200


async def test_a_malformed_request_leaves_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with health_port(tmp_path) as port:
        assert (await ask(port, request("http://internal.example/"))).status == 400

    assert "Traceback" not in caplog.text


async def test_a_scrape_that_is_not_read_is_given_up(tmp_path: Path) -> None:
    async with health_port(tmp_path) as port, AsyncExitStack() as stack:
        unread = await unread_connections(stack, port, 1, request("/metrics") * 2000)

        await eventually_aborted(unread, seconds=40)

        assert (await ask(port, request("/livez"))).status == 200
