"""Connects to the user's cluster, and turns errors into one line."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import click

from mistral_operator.kube.client import Cluster
from mistral_operator.kube.credentials import kubeconfig_of_user, namespace_of_context
from mistral_operator.kube.errors import CannotStart, ClusterError, Unavailable
from mistral_operator.plugin.read_endpoint import EndpointMissing
from mistral_operator.plugin.reader import PODS_AT_ONCE, Reader
from mistral_server.contract.lenient import printable

T = TypeVar("T")

_INTERRUPTED = 130
"""128 and the number of SIGINT."""

_CONNECTIONS = PODS_AT_ONCE + 20
"""More than are used for pods, so that pods that do not answer cannot use up all of them."""


@dataclass(frozen=True, slots=True)
class Access:
    """Which cluster and namespace the user means."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None

    @property
    def default_namespace(self) -> str:
        """The namespace that is used where the user names none."""
        return namespace_of_context(kubeconfig_of_user(self.kubeconfig), self.context)


def in_cluster(access: Access, task: Callable[[Reader, str], Awaitable[T]]) -> T:
    """Run a task with a connection and the user's namespace.

    Raises:
        ClickException: the cluster cannot be read, with one line that says why.
        SystemExit: Ctrl-C was pressed; as kubectl, with the status that shells expect.
    """
    try:
        with _quiet():
            return asyncio.run(_run(access, task))
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None
    except Unavailable as error:
        raise click.ClickException(
            f"the API server does not answer: {printable(error.reason)}"
        ) from error
    except ClusterError as error:
        raise click.ClickException(printable(error.reason)) from error
    except (CannotStart, EndpointMissing) as error:
        raise click.ClickException(printable(str(error))) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Log nothing: what the client logs of a failure is in the error already."""
    log = logging.getLogger("mistral_operator")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


async def _run(access: Access, task: Callable[[Reader, str], Awaitable[T]]) -> T:
    namespace = access.namespace or access.default_namespace
    kubeconfig = kubeconfig_of_user(access.kubeconfig)
    async with await Cluster.connect(_CONNECTIONS, kubeconfig, access.context) as cluster:
        return await task(Reader(cluster), namespace)
