"""The fault proxy leaves no connection behind that a later test would be blamed for."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from fault_proxy import FaultProxy

SERVER = """
import asyncio, ssl, sys
from aiohttp import web

async def watch(request):
    answer = web.StreamResponse()
    await answer.prepare(request)
    await answer.write(b"{}\\n")
    await asyncio.sleep(100)

app = web.Application()
app.router.add_route("*", "/{path:.*}", watch)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("admin.crt", "admin.key")

async def serve():
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.sleep(100)

asyncio.run(serve())
"""
"""An API server whose watches have one event."""


@pytest.fixture
def frozen_soon(tmp_path: Path) -> Iterator[tuple[Any, int]]:
    """Yield a cluster whose API server can be frozen, and the server's process."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    command += ["-keyout", "admin.key", "-out", "admin.crt"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "ca.crt").write_bytes((tmp_path / "admin.crt").read_bytes())
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        layout = SimpleNamespace(pki=tmp_path)
        yield SimpleNamespace(api_url=f"https://127.0.0.1:{port}", layout=layout), process.pid
        process.kill()


@pytest.mark.process
def test_a_watch_of_an_api_server_that_hangs_is_closed_with_the_proxy(
    frozen_soon: tuple[Any, int], tmp_path: Path
) -> None:
    cluster, pid = frozen_soon

    async def leave_a_watch() -> None:
        async with FaultProxy(cluster, "operator", tmp_path) as proxy:
            url = f"{proxy.url}/api/v1/pods?watch=true"
            async with aiohttp.ClientSession() as session, session.get(url) as watch:
                await watch.content.readline()
                os.kill(pid, signal.SIGSTOP)  # so that it does not answer the end of TLS
            while proxy.watched_kinds:  # noqa: ASYNC110 - the proxy polls its clients, too
                await asyncio.sleep(0.01)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(leave_a_watch())
        gc.collect()
    assert [str(one.message) for one in caught] == []
