"""Leader election with a Lease: at most one operator acts.

The official client's own election does the work. A replica that loses its Lease does not stop what
it is doing piece by piece; the process exits, and its Deployment starts a fresh one.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine

from kubernetes.aio.client import V1Lease, V1ObjectMeta
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from mistral_operator.kube import names
from mistral_operator.kube.client import Cluster
from mistral_operator.process.settings import Settings

log = logging.getLogger(__name__)

_RETRY_SECONDS = 2


class LeaseLost(RuntimeError):
    """Another replica may act now, so this one must not."""


class CreatableLeaseLock(LeaseLock):  # type: ignore[misc]  # the client ships no types for it
    """A Lease that can also be created.

    LeaseLock.create of kubernetes 37.0.2 passes pretty=True where its own client takes a string, so
    the first election on a fresh cluster fails. Remove this when a release mends it.
    """

    async def create(
        self, name: str, namespace: str, election_record: LeaderElectionRecord
    ) -> bool:
        """Create the Lease; return whether it worked."""
        metadata = V1ObjectMeta(name=name)
        body = V1Lease(metadata=metadata, spec=self.update_lease(election_record))
        try:
            await self.api_instance.create_namespaced_lease(namespace, body)
        except ApiException as error:
            # Another replica was faster; the next attempt finds its Lease.
            log.info("cannot create the Lease: %s", error.reason)
            return False
        return True


async def lead(
    cluster: Cluster, settings: Settings, act: Callable[[], Coroutine[None, None, None]]
) -> None:
    """Wait for the Lease, then act until it is lost.

    Raises:
        LeaseLost: the Lease could not be renewed in time.
    """
    lock = CreatableLeaseLock(names.LEASE, settings.namespace, settings.identity, cluster.client)

    acting: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def started() -> None:
        log.info("%s holds the Lease %s/%s", settings.identity, settings.namespace, names.LEASE)
        try:
            await act()
        except Exception as error:
            # The election does not look at what its callback raises: it would go on renewing the
            # Lease of an operator that does nothing.
            acting.set_exception(error)

    config = Config(
        lock,
        lease_duration=settings.lease_seconds,
        renew_deadline=settings.lease_seconds * 2 / 3,
        retry_period=_RETRY_SECONDS,
        onstarted_leading=started,
        onstopped_leading=None,
    )
    election = asyncio.create_task(LeaderElection(config).run(), name="election")
    try:
        await asyncio.wait({election, acting}, return_when=asyncio.FIRST_COMPLETED)
        if acting.done():
            return acting.result()
        # The election returns when it could not renew the Lease, and raises when it broke.
        election.result()
    finally:
        election.cancel()
    raise LeaseLost(f"{settings.identity} lost the Lease {settings.namespace}/{names.LEASE}")
