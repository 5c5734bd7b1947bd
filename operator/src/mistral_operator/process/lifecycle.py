"""Runs the tasks of a process until a signal arrives or one of them exits."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import Any

import kopf

from mistral_operator.kube.client import Cluster
from mistral_operator.kube.kinds import Kind
from mistral_operator.process.http_server import Health
from mistral_operator.watch.kopf_watch import kopf_settings, register
from mistral_operator.watch.resync import Sink

log = logging.getLogger(__name__)

_RESTART_SECONDS = 1.0
_STABLE_SECONDS = 5.0
_LONGEST_RESTART_SECONDS = 30.0
"""Delay between restarts of watches that fail at once, each with a full list: Kopf cannot decode an
object that is nested a thousand levels deep. The sweep finds what they would have reported."""
_STOP_SECONDS = 2.0
"""Timeout for stopping Kopf. A stream may wait for credentials that never arrive."""


class TaskExited(RuntimeError):
    """A task that should run forever has exited."""


class StopRequested(Exception):
    """The process should exit without an error: on SIGTERM, or to restart."""


async def run_watches(
    sink: Sink,
    selectors: Mapping[Kind, str | None],
    namespaces: Callable[[], tuple[str, ...]],
    recover: Callable[[], Awaitable[None]],
) -> None:
    """Watch until a signal arrives; restart watches that fail.

    Args:
        sink: receives the events.
        selectors: watched kinds with their label selectors.
        namespaces: returns the namespaces to watch; all if empty.
        recover: is awaited before watches are restarted, to list what they missed.

    Raises:
        StopRequested: a signal arrived.
    """
    registry = kopf.OperatorRegistry()
    register(registry, sink, selectors)
    failures = 0
    while True:
        started = time.monotonic()
        error = await _watch_once(registry, selectors, namespaces())
        if error is None:
            # Kopf handles signals while it runs, and stops on one.
            raise StopRequested
        log.error("the watches failed and are started anew: %s: %s", type(error).__name__, error)
        failures = failures + 1 if time.monotonic() - started < _STABLE_SECONDS else 1
        delay = _RESTART_SECONDS * 2.0 ** min(failures - 1, 10)
        await asyncio.sleep(min(delay, _LONGEST_RESTART_SECONDS))
        await recover()


async def _watch_once(
    registry: kopf.OperatorRegistry,
    selectors: Mapping[Kind, str | None],
    namespaces: tuple[str, ...],
) -> BaseException | None:
    """Watch until Kopf stops; return its error, None after a signal.

    kopf.operator() would wait for each of its streams, one of which may wait for credentials that
    never arrive, and would cancel every task of this process.
    """
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=kopf_settings(selectors),
        clusterwide=not namespaces,
        namespaces=namespaces,
    )
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        errors = [task.exception() for task in done if not task.cancelled()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_STOP_SECONDS)
    return next(filter(None, errors), None)


async def wait_for_signal() -> None:
    """Wait for SIGTERM or SIGINT.

    Raises:
        StopRequested: one arrived.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stopped.set)
    await stopped.wait()
    raise StopRequested


def ignore_generator_close_errors(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Ignore errors from closing the watches of Kopf, which are nested generators.

    The event loop closes all of them at once when it stops. An outer generator then closes an inner
    one that is already closing, which asyncio reports as an error with a traceback.
    """
    if "asyncgen" not in context:
        loop.default_exception_handler(context)


_CHECK_SECONDS = 5.0
"""Idle time after which the API server is checked, if no other request was sent."""


def _no_problem() -> str | None:
    return None


async def heartbeat(
    cluster: Cluster,
    health: Health,
    *,
    stays_ready: bool = False,
    problem: Callable[[], str | None] = _no_problem,
) -> None:
    """Update the health: whether the event loop runs and the API server is reachable.

    Args:
        cluster: is checked while no other requests are sent.
        health: state that the probes report.
        stays_ready: once ready, stay ready without the API server.
        problem: returns why else the process is not ready, or None.
    """
    while True:
        health.heartbeat()
        if not health.terminating and not (stays_ready and health.problem is None):
            last = cluster.availability.seconds_since_response
            if last is None or last > _CHECK_SECONDS or not cluster.availability.reachable:
                await cluster.reachable()
            health.problem = cluster.availability.problem or problem()
        await asyncio.sleep(1)


async def run_all(*tasks: Coroutine[None, None, None]) -> None:
    """Run tasks that should never exit; the first that exits or fails stops all."""
    async with asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(_endless(task))


async def _endless(task: Coroutine[None, None, None]) -> None:
    await task
    raise TaskExited(f"{task} exited unexpectedly")


def leaf_errors(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """Yield the errors of a group and of its nested groups."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaf_errors(error)
        else:
            yield error


async def exit_if_tasks_hang(exit_code: int) -> None:
    """Exit the process if tasks do not stop when they are canceled.

    asyncio would wait for them forever, and the process would stay up without doing anything.
    """
    remaining = asyncio.all_tasks() - {asyncio.current_task()}
    for task in remaining:
        task.cancel()
    if not remaining:
        return
    _, hanging = await asyncio.wait(remaining, timeout=_STOP_SECONDS)
    if hanging:
        log.debug("left hanging: %s", hanging)
        logging.shutdown()
        os._exit(exit_code)
