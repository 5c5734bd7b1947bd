"""How a process of several parts lives: it watches until a signal, or until one part ends."""

import asyncio
import logging
import os
import signal
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
_STOP_SECONDS = 2.0
"""What parts of Kopf may take to end. A stream may wait for credentials that never come."""


class PartEnded(RuntimeError):
    """A part of the operator that should run for ever has ended."""


class StopRequested(Exception):
    """The process should end, and nothing is wrong: SIGTERM arrived, or a fresh start is due."""


async def _nothing() -> None:
    """Do nothing."""


async def watch(
    sink: Sink,
    selectors: Mapping[Kind, str | None],
    namespaces: tuple[str, ...],
    started: asyncio.Event | None = None,
    recover: Callable[[], Awaitable[None]] = _nothing,
) -> None:
    """Watch until a signal arrives. Watches that fail for good are started anew.

    Args:
        sink: is called with what the watches report.
        selectors: the kinds that are watched, each with its label selector.
        namespaces: where; everywhere if there are none.
        started: is set once Kopf has taken the signals over, so that they can be taken back.
        recover: is awaited before watches are started anew: what they missed has to be listed.

    Raises:
        StopRequested: a signal arrived.
    """
    registry = kopf.OperatorRegistry()
    register(registry, sink, selectors)
    while True:
        error = await _watch_once(registry, selectors, namespaces, started)
        if error is None:
            # Kopf takes the signals over while it runs, and ends when one arrives.
            raise StopRequested
        log.error("the watches failed and are started anew: %s: %s", type(error).__name__, error)
        await asyncio.sleep(_RESTART_SECONDS)
        await recover()


async def _watch_once(
    registry: kopf.OperatorRegistry,
    selectors: Mapping[Kind, str | None],
    namespaces: tuple[str, ...],
    started: asyncio.Event | None,
) -> BaseException | None:
    """Watch until Kopf ends; return why, None after a signal.

    kopf.operator() would wait for each of its streams, one of which may wait for credentials that
    never come, and would end every task of this process with them.
    """
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=kopf_settings(selectors),
        clusterwide=not namespaces,
        namespaces=namespaces,
        ready_flag=started,
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


def overlook_generators(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing of Kopf's watches, which are generators within generators.

    It leaves them to the loop's end, which closes all of them at once: an inner one is then already
    being closed by its outer one, and that is told as an error with a traceback.
    """
    if "asyncgen" not in context:
        loop.default_exception_handler(context)


_ASK_SECONDS = 5.0
"""The API server is asked whether it is there, if nothing else was asked for as long."""


async def beat(cluster: Cluster, health: Health, *, stays_ready: bool = False) -> None:
    """Show that the event loop turns, and whether the API server can be reached.

    Args:
        cluster: its API server is asked where nothing else does.
        health: is what the probes answer.
        stays_ready: a process that has been ready serves without the API server.
    """
    while True:
        health.beat()
        if not health.leaving and not (stays_ready and health.problem is None):
            last = cluster.availability.seconds_since_answer
            if last is None or last > _ASK_SECONDS or not cluster.availability.reachable:
                await cluster.reachable()
            health.problem = cluster.availability.problem
        await asyncio.sleep(1)


async def run_all(*parts: Coroutine[None, None, None]) -> None:
    """Run parts that should never end; the first that does, or fails, ends all."""
    async with asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(_endless(part))


async def _endless(part: Coroutine[None, None, None]) -> None:
    await part
    raise PartEnded(f"{part} exited unexpectedly")


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """Yield the errors of a group and of the groups in it."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


async def end_what_hangs(exit_code: int) -> None:
    """End the process if tasks are left that do not end when they are cancelled.

    asyncio would wait for them forever, and Kubernetes would see a process that does nothing.
    """
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if not left:
        return
    _, hanging = await asyncio.wait(left, timeout=_STOP_SECONDS)
    if hanging:
        log.debug("left hanging: %s", hanging)
        logging.shutdown()
        os._exit(exit_code)
