"""Leader election with a Lease: at most one operator writes.

The official client's election decides; two things are ours. Durations are measured by a clock that
nobody sets, and a fence stops every write of a replica whose Lease may have expired. A replica that
sees another holder ends its process, and its Deployment starts a fresh one.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine

import aiohttp
from kubernetes.aio.client import V1Lease, V1LeaseSpec, V1ObjectMeta
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from mistral_operator.kube import names
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.failures import error_of
from mistral_operator.kube.fence import uptime
from mistral_operator.process.settings import Settings

log = logging.getLogger(__name__)

_ACQUIRE_SECONDS = 1.0
"""Interval at which a standby replica looks at the Lease."""
_RENEW_SECONDS = 2.0
"""Interval at which the leader renews it; that of kube-controller-manager."""
_GRACE_SECONDS = 2 * _RENEW_SECONDS
"""How long a leader has to renew an expired Lease after an outage that its replica shared."""
_NO_ANSWER = (aiohttp.ClientError, TimeoutError, OSError)


class LeaseLost(RuntimeError):
    """Another replica holds the Lease, so this one must not act."""


class MonotonicLease(LeaseLock):  # type: ignore[misc]  # the client ships no types for it
    """A Lease whose age is measured by a monotonic clock, and which opens the fence.

    The election of kubernetes 37.0.2 compares times of `time.time()`, sends requests that may take
    five minutes, raises where the API server refuses connections, and its LeaseLock.create passes
    pretty=True where its own client takes a string. Each is put right here.

    Args:
        cluster: where the Lease is; its fence is opened by every renewal.
        settings: namespace and identity of this replica, and the Lease's duration.
        clock: the clock of the fence.
    """

    def __init__(
        self, cluster: Cluster, settings: Settings, clock: Callable[[], float] = uptime
    ) -> None:
        super().__init__(names.LEASE, settings.namespace, settings.identity, cluster.client)
        self._cluster = cluster
        self._seconds = settings.lease_seconds
        self._timeout = settings.lease_seconds / 4
        self._clock = clock
        self._version: str | None = None
        self._version_since = 0.0
        self._duration = float(settings.lease_seconds)
        self._refusal = ""
        self._is_outage = False
        self._outage_end = 0.0
        self.holder: str | None = None
        """Identity of the holder when the Lease was last read or written."""

    @property
    def is_of_another(self) -> bool:
        """Another replica holds the Lease, or did when it was last read."""
        return self.holder is not None and self.holder != self.identity

    @property
    def _may_be_taken(self) -> bool:
        if not self.is_of_another:
            return True
        # While the API server is away, its leader cannot renew either.
        expires = max(self._version_since + self._duration, self._outage_end + _GRACE_SECONDS)
        return self._clock() >= expires

    async def get(
        self, name: str, namespace: str
    ) -> tuple[bool, LeaderElectionRecord | ApiException]:
        """Read the Lease. One that has expired is returned as one that nobody holds."""
        try:
            lease = await self.api_instance.read_namespaced_lease(
                name, namespace, _request_timeout=self._timeout
            )
        except ApiException as error:
            self._cluster.availability.answered()
            if error.status != 404:
                self._refused(error)
            return False, error
        except _NO_ANSWER as error:
            return False, self._no_answer(error)
        self._cluster.availability.answered()
        if self._is_outage:
            self._is_outage, self._outage_end = False, self._clock()
        self._observe(lease)
        record = self.election_record(lease)
        if self.is_of_another and self._may_be_taken:
            record.holder_identity = None
        return True, record

    async def create(
        self, name: str, namespace: str, election_record: LeaderElectionRecord
    ) -> bool:
        """Create the Lease; return whether it worked."""
        if not self._may_be_taken:
            return False  # the Lease was deleted under a leader that has not noticed yet
        body = V1Lease(metadata=V1ObjectMeta(name=name), spec=self.update_lease(election_record))
        return await self._write(self.api_instance.create_namespaced_lease, namespace, body)

    async def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:
        """Take or renew the Lease that was read last; return whether it worked."""
        if not self._may_be_taken:
            return False
        lease = self.lease_reference
        lease.spec = lease.spec or V1LeaseSpec()
        if lease.spec.holder_identity != self.identity:
            lease.spec.lease_transitions = (lease.spec.lease_transitions or 0) + 1
        lease.spec = self.update_lease(updated_record, lease.spec)
        return await self._write(self.api_instance.replace_namespaced_lease, name, namespace, lease)

    async def release(self) -> None:
        """Give the Lease up, so that a standby replica need not wait until it expires."""
        if self.holder != self.identity or not self._cluster.fence.seconds_left:
            return
        self._cluster.fence.close()
        lease = self.lease_reference
        lease.spec.holder_identity = ""
        lease.spec.lease_duration_seconds = 1
        try:
            await self.api_instance.replace_namespaced_lease(
                self.name, self.namespace, lease, _request_timeout=self._timeout
            )
        except (ApiException, *_NO_ANSWER) as error:
            log.info("the Lease was not released, and expires: %s", error)

    async def _write(
        self, write: Callable[..., Coroutine[None, None, V1Lease]], *what: object
    ) -> bool:
        started = self._clock()
        try:
            lease = await write(*what, _request_timeout=self._timeout)
        except ApiException as error:
            self._cluster.availability.answered()
            if error.status == 409:
                log.info("another replica was faster to write the Lease")
            else:
                self._refused(error)
            return False
        except _NO_ANSWER as error:
            self._no_answer(error)
            return False
        self._cluster.availability.answered()
        self._refusal = ""
        self._observe(lease)
        self._cluster.fence.open_until(started + self._seconds * 2 / 3)
        return True

    def _observe(self, lease: V1Lease) -> None:
        self.lease_reference = lease
        spec = lease.spec or V1LeaseSpec()
        self.holder = spec.holder_identity or None
        self._duration = max(self._seconds, spec.lease_duration_seconds or 0)
        if lease.metadata.resource_version != self._version:
            self._version, self._version_since = lease.metadata.resource_version, self._clock()

    def _refused(self, error: ApiException) -> None:
        """Log a refusal, a missing right most often, unless it is the same as before."""
        refusal = str(error_of(error.status, {}, (error.body or "").encode(), "the Lease"))
        if refusal != self._refusal:
            log.warning("nothing is done without %s", refusal)
        self._refusal = refusal

    def _no_answer(self, error: BaseException) -> ApiException:
        self._cluster.availability.failed(error)
        self._is_outage = True
        return ApiException(status=0, reason=f"{type(error).__name__}: {error}")


class Election(LeaderElection):  # type: ignore[misc]  # the client ships no types for it
    """An election whose leader goes on while nobody else holds the Lease."""

    async def run(self) -> None:
        """Wait for the Lease, then act and renew it.

        Raises:
            LeaseLost: in a group with what acting raised; another replica holds the Lease.
        """
        config = self.election_config
        await self.acquire()
        log.info(
            "%s holds the Lease %s/%s",
            config.lock.identity,
            config.lock.namespace,
            config.lock.name,
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.renew_loop())
                group.create_task(config.onstarted_leading())
        finally:
            await config.lock.release()

    async def renew_loop(self) -> None:
        """Renew the Lease for ever.

        While the API server does not answer, the fence closes and nothing is written; if nobody
        took the Lease meanwhile, it is renewed as if nothing had been.

        Raises:
            LeaseLost: another replica holds the Lease.
        """
        lock = self.election_config.lock
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            await self.try_acquire_or_renew()
            if lock.is_of_another:
                raise LeaseLost(f"{lock.holder} holds the Lease {lock.namespace}/{lock.name} now")


async def lead(
    cluster: Cluster, settings: Settings, act: Callable[[], Coroutine[None, None, None]]
) -> None:
    """Wait for the Lease, then act while it is ours.

    Raises:
        LeaseLost: in a group; another replica holds the Lease.
    """
    cluster.fence.close()
    config = Config(
        MonotonicLease(cluster, settings),
        lease_duration=settings.lease_seconds,
        renew_deadline=settings.lease_seconds * 2 / 3,
        retry_period=_ACQUIRE_SECONDS,
        onstarted_leading=act,
        onstopped_leading=None,
    )
    await Election(config).run()
