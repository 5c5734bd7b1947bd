"""Serves /signals while a model is fetched, so that the operator can report the progress.

The init container has the address of the pod, and the health port is free until the server starts.
The progress is optional: the model is fetched without it, too.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator

from aiohttp import web

from mistral_server.contract import FetchProgress, SignalDocument
from mistral_server.guarded_http.guarded_server import Guard, GuardedRunner
from mistral_server.guarded_http.shares import Shares
from mistral_server.model.progress import Progress

_CONNECTIONS = 16
"""The operator polls with one."""
_HEAD_SECONDS = 10.0
_STOP_SECONDS = 2.0

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def serving(progress: Progress, port: int) -> Iterator[None]:
    """Serve the progress from a thread while the block runs."""
    loop, stopped = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(
        target=_run, args=(loop, stopped, progress, port), name="fetch-signals", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # it could not serve, and is closed
            loop.call_soon_threadsafe(stopped.set)
        thread.join(_STOP_SECONDS)


def _run(
    loop: asyncio.AbstractEventLoop, stopped: asyncio.Event, progress: Progress, port: int
) -> None:
    try:
        loop.run_until_complete(_serve(stopped, progress, port))
    except Exception as error:  # whatever it is, the model is fetched
        _log.warning("The progress is not served: %s", error)
    finally:
        loop.close()


async def _serve(stopped: asyncio.Event, progress: Progress, port: int) -> None:
    async def signals(_request: web.Request) -> web.Response:
        fetch = FetchProgress(fetched_bytes=progress.fetched, total_bytes=progress.total)
        document = SignalDocument(ready=False, fetch=fetch)
        return web.json_response(text=document.model_dump_json())

    app = web.Application()
    app.router.add_get("/signals", signals)
    guard = Guard(Shares(_CONNECTIONS), head_seconds=_HEAD_SECONDS)
    runner = GuardedRunner(app, guard, shutdown_timeout=0.1)
    await runner.setup()
    try:
        # Without a host, asyncio opens a socket for each family.
        await web.TCPSite(runner, None, port).start()
        await stopped.wait()
    finally:
        await runner.cleanup()
