"""How a process of several parts lives: it watches until a signal, or until one part ends."""

import asyncio
import signal
from collections.abc import Coroutine, Mapping
from typing import Any

import kopf

from mistral_operator.kube.client import Cluster
from mistral_operator.kube.kinds import Kind
from mistral_operator.process.http_server import Health
from mistral_operator.watch.kopf_watch import kopf_settings, register
from mistral_operator.watch.resync import Sink


class PartEnded(RuntimeError):
    """A part of the operator that should run for ever has ended."""


class StopRequested(Exception):
    """The process should end, and nothing is wrong: SIGTERM arrived, or a fresh start is due."""


async def watch(
    sink: Sink,
    selectors: Mapping[Kind, str | None],
    namespaces: tuple[str, ...],
    started: asyncio.Event | None = None,
) -> None:
    """Watch until a signal arrives.

    Args:
        sink: is told what the watches say.
        selectors: the kinds that are watched, each with its label selector.
        namespaces: where; everywhere if there are none.
        started: is set once Kopf has taken the signals over, so that they can be taken back.

    Raises:
        StopRequested: a signal arrived.
    """
    registry = kopf.OperatorRegistry()
    register(registry, sink, selectors)
    await kopf.operator(
        registry=registry,
        settings=kopf_settings(selectors),
        clusterwide=not namespaces,
        namespaces=namespaces,
        ready_flag=started,
    )
    # Kopf takes the signals over while it runs, and returns when one arrives.
    raise StopRequested


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


async def beat(cluster: Cluster, health: Health) -> None:
    """Show that the event loop turns, and find out whether the API server can be reached."""
    while True:
        health.beat()
        if not (health.ready or health.leaving):
            health.ready = await cluster.reachable()
        await asyncio.sleep(1)


async def run_all(*parts: Coroutine[None, None, None]) -> None:
    """Run parts that should never end; the first that does, or fails, ends all."""
    async with asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(_endless(part))


async def _endless(part: Coroutine[None, None, None]) -> None:
    await part
    raise PartEnded(f"{part} exited unexpectedly")
