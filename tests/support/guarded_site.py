"""An application on the loopback network, served as every process of the project serves its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from mistral_server.guarded_http.guarded_server import Guard, GuardedRunner
from server_runner import free_port


@asynccontextmanager
async def guarded_site(app: web.Application, guard: Guard) -> AsyncIterator[int]:
    """Serve an application and yield its port."""
    runner, port = GuardedRunner(app, guard, shutdown_timeout=0.1), free_port()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield port
    finally:
        await runner.cleanup()
