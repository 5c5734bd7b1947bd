"""Calls to the compile cache, whose claim may hang: a network volume without its server.

Nothing ends such a call, so it runs in a thread that the process does not wait for. A thread of
asyncio's pool would keep the process, and the server would ignore SIGTERM and hold its GPUs.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeVar

from mistral_server.contract import FailureClass
from mistral_server.supervisor.compile_cache import CompileCache

T = TypeVar("T")

OPEN_SECONDS = 60.0
"""Time to open the cache. Deleting what is too much takes a while on a network volume."""
MARK_SECONDS = 10.0
"""Time to note that a chat was answered. The pod is not ready before."""
DISCARD_SECONDS = 60.0
"""Time to delete a cache after a failure."""
CLOSE_SECONDS = 5.0
"""Time to release a lock, which the end of the process does as well."""

_log = logging.getLogger(__name__)


async def open_cache(
    cache: CompileCache, environment: Mapping[str, str], stop: asyncio.Event
) -> dict[str, str]:
    """Return the engine's environment, without the cache if the claim hangs or a stop comes."""
    opening = asyncio.ensure_future(_call(partial(cache.open, environment)))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait(
            [opening, stopping], timeout=OPEN_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        if opening.done():
            return opening.result()
        cache.give_up(f"the claim did not respond within {OPEN_SECONDS:.0f} s")
        return dict(environment)
    finally:
        opening.cancel()
        stopping.cancel()
        await asyncio.gather(opening, stopping, return_exceptions=True)


async def mark_ready(cache: CompileCache) -> None:
    """Note that a chat was answered."""
    try:
        await _within(MARK_SECONDS, cache.mark_ready)
    except TimeoutError:
        cache.give_up(f"the claim did not respond within {MARK_SECONDS:.0f} s")


async def mark_failed(cache: CompileCache, failure: FailureClass) -> None:
    """Discard the cache after a failure that it may have caused."""
    try:
        await _within(DISCARD_SECONDS, partial(cache.mark_failed, failure))
    except TimeoutError:
        _log.warning("The claim does not respond: the compile cache stays as it is")


async def close(cache: CompileCache) -> None:
    """Release the cache."""
    with suppress(TimeoutError):
        await _within(CLOSE_SECONDS, cache.close)


async def _within(seconds: float, function: Callable[[], T]) -> T:
    async with asyncio.timeout(seconds):
        return await _call(function)


async def _call(function: Callable[[], T]) -> T:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return  # it is not waited for any more
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = function()
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(finish, result, failure)

    threading.Thread(target=run, name="claim", daemon=True).start()
    return await done
