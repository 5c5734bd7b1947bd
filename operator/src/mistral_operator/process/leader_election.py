"""Leader election with a Lease: at most one operator writes.

The election is the official client's, with two additions. Durations are measured by a monotonic
clock, and a fence blocks every write of a replica whose Lease may have expired. A leader exits when
it sees another holder, or that there was one meanwhile, and its Deployment restarts it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine

import aiohttp
from kubernetes.aio.client import V1Lease, V1LeaseSpec, V1ObjectMeta
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config import ConfigException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from mistral_operator.kube import names
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.documents import NotADocument
from mistral_operator.kube.failures import error_of
from mistral_operator.kube.fence import uptime
from mistral_operator.process.settings import Settings

log = logging.getLogger(__name__)

_ACQUIRE_SECONDS = 1.0
"""Interval at which a standby replica reads the Lease."""
_RENEW_SECONDS = 2.0
"""Interval at which the leader renews the Lease, as in kube-controller-manager."""
_GRACE_SECONDS = 2 * _RENEW_SECONDS
"""Time that the leader has to renew an expired Lease after an outage that this replica shared."""
_CONNECTION_ERRORS = (aiohttp.ClientError, TimeoutError, OSError, ConfigException)
"""Errors of a request that has no response; ConfigException is about the file of the token."""
_PARSE_ERRORS = (ValueError, TypeError, AttributeError, LookupError, RecursionError)
"""Errors of the client about a response that is no Lease, such as the page of a proxy."""

_Request = Callable[..., Coroutine[None, None, V1Lease]]


class LeaseLost(RuntimeError):
    """Another replica holds the Lease, or did meanwhile, so this one must not act."""


class MonotonicLease(LeaseLock):  # type: ignore[misc]  # the client ships no types for it
    """A Lease whose age is measured by a monotonic clock. Each renewal opens the fence.

    The election of kubernetes 37.0.2 compares times of `time.time()`, sends requests that may take
    five minutes, raises where the API server refuses connections, and its LeaseLock.create passes
    pretty=True where its own client takes a string. This class fixes each of them.

    Args:
        cluster: holds the Lease; each renewal opens its fence.
        settings: namespace and identity of this replica, and the duration of the Lease.
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
        self._rejection = ""
        self._is_outage = False
        self._outage_end = 0.0
        self.holder: str | None = None
        """Identity of the holder when the Lease was last read or written."""
        self._term: tuple[str | None, int] | None = None
        self.was_held_by_other = False
        """Another replica held the Lease after this one acquired it, and may have written."""

    @property
    def is_held_by_other(self) -> bool:
        """Another replica holds the Lease, or did when it was last read."""
        return self.holder is not None and self.holder != self.identity

    @property
    def _can_acquire(self) -> bool:
        if self.was_held_by_other:
            return False
        if not self.is_held_by_other:
            return True
        # The leader cannot renew the Lease either while the API server is down.
        expires = max(self._version_since + self._duration, self._outage_end + _GRACE_SECONDS)
        return self._clock() >= expires

    async def get(
        self, name: str, namespace: str
    ) -> tuple[bool, LeaderElectionRecord | ApiException]:
        """Read the Lease; an expired one is returned without a holder."""
        try:
            lease = await self._send(self.api_instance.read_namespaced_lease, name, namespace)
        except ApiException as error:
            if error.status not in {0, 404}:
                self._log_rejection(error)
            return False, error
        if self._is_outage:
            self._is_outage, self._outage_end = False, self._clock()
        self._observe(lease)
        self.was_held_by_other = self._term not in {None, _term(lease)}
        record = self.election_record(lease)
        if self.is_held_by_other and self._can_acquire:
            record.holder_identity = None
        return True, record

    async def create(
        self, name: str, namespace: str, election_record: LeaderElectionRecord
    ) -> bool:
        """Create the Lease; return whether it worked."""
        if not self._can_acquire:
            return False  # the Lease was deleted, and its leader may not have noticed yet
        body = V1Lease(metadata=V1ObjectMeta(name=name), spec=self.update_lease(election_record))
        return await self._write(self.api_instance.create_namespaced_lease, namespace, body)

    async def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:
        """Acquire or renew the Lease that was read last; return whether it worked."""
        if not self._can_acquire:
            return False
        lease = self.lease_reference
        lease.spec = lease.spec or V1LeaseSpec()
        if lease.spec.holder_identity != self.identity:
            lease.spec.lease_transitions = (lease.spec.lease_transitions or 0) + 1
        lease.spec = self.update_lease(updated_record, lease.spec)
        return await self._write(self.api_instance.replace_namespaced_lease, name, namespace, lease)

    async def release(self) -> None:
        """Release the Lease, so that a standby replica can acquire it before it expires."""
        if self.holder != self.identity or not self._cluster.fence.seconds_left:
            return
        self._cluster.fence.close()
        lease = self.lease_reference
        lease.spec.holder_identity = ""
        lease.spec.lease_duration_seconds = 1
        try:
            await self._send(
                self.api_instance.replace_namespaced_lease, self.name, self.namespace, lease
            )
        except ApiException as error:
            log.info("the Lease was not released, and expires: %s", error)

    async def _write(self, write: _Request, *arguments: object) -> bool:
        started = self._clock()
        try:
            lease = await self._send(write, *arguments)
        except ApiException as error:
            if error.status == 409:
                log.info("another replica was faster to write the Lease")
            elif error.status:
                self._log_rejection(error)
            return False
        self._rejection = ""
        self._observe(lease)
        if self.holder != self.identity:
            return False
        self._term = _term(lease)
        self._cluster.fence.open_until(started + self._seconds * 2 / 3)
        return True

    async def _send(self, request: _Request, *arguments: object) -> V1Lease:
        """Send a request and return the Lease in its response.

        Raises:
            ApiException: the request failed; its status is 0 if no API server responded.
        """
        try:
            lease = self._parsed(await request(*arguments, _request_timeout=self._timeout))
        except ApiException as error:
            if not error.status:  # a response of a content type that the client does not know
                raise self._record_page(error) from error
            self._cluster.availability.record_response()
            raise
        except _CONNECTION_ERRORS as error:
            self._cluster.availability.record_failure(error)
            raise self._outage(error) from error
        except _PARSE_ERRORS as error:
            raise self._record_page(error) from error
        self._cluster.availability.record_response()
        return lease

    def _parsed(self, response: V1Lease) -> V1Lease:
        """Return a response that is this Lease; any JSON object is parsed as one without fields.

        Raises:
            NotADocument: it is something else.
        """
        metadata = response.metadata
        if metadata is None or metadata.name != self.name or not metadata.resource_version:
            raise NotADocument(f"no name {self.name} with a resource version")
        return response

    def _observe(self, lease: V1Lease) -> None:
        self.lease_reference = lease
        spec = lease.spec or V1LeaseSpec()
        self.holder = spec.holder_identity or None
        self._duration = max(self._seconds, spec.lease_duration_seconds or 0)
        if lease.metadata.resource_version != self._version:
            self._version, self._version_since = lease.metadata.resource_version, self._clock()

    def _log_rejection(self, error: ApiException) -> None:
        """Log a rejection, usually a missing permission, unless it is the same as the last."""
        rejection = str(error_of(error.status, {}, (error.body or "").encode(), "the Lease"))
        if rejection != self._rejection:
            log.warning("nothing is done without %s", rejection)
        self._rejection = rejection

    def _record_page(self, error: Exception) -> ApiException:
        """Record a response that is no Lease, once: other requests may be answered meanwhile."""
        lines = str(error).splitlines() or [""]
        page = NotADocument(f"the answer is not a Lease: {type(error).__name__}: {lines[0]}")
        if not self._is_outage:
            self._cluster.availability.record_failure(page)
        return self._outage(page)

    def _outage(self, error: BaseException) -> ApiException:
        self._is_outage = True
        return ApiException(status=0, reason=f"{type(error).__name__}: {error}")


def _term(lease: V1Lease) -> tuple[str | None, int]:
    """Return what changes when another replica acquires a Lease, or creates it anew."""
    spec = lease.spec or V1LeaseSpec()
    return lease.metadata.uid, spec.lease_transitions or 0


class Election(LeaderElection):  # type: ignore[misc]  # the client ships no types for it
    """An election whose leader continues as long as no other replica acquires the Lease."""

    async def run(self) -> None:
        """Acquire the Lease, then lead and renew it.

        Raises:
            LeaseLost: in a group with errors of the leader; another replica holds the Lease, or
                held it meanwhile.
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
        """Renew the Lease forever.

        While the API server is down, the fence closes and blocks writes. If no other replica
        acquired the Lease meanwhile, it is renewed as usual.

        Raises:
            LeaseLost: another replica holds the Lease, or held it meanwhile.
        """
        lock = self.election_config.lock
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            await self.try_acquire_or_renew()
            if lock.is_held_by_other:
                raise LeaseLost(f"{lock.holder} holds the Lease {lock.namespace}/{lock.name} now")
            if lock.was_held_by_other:
                raise LeaseLost(
                    f"another replica held the Lease {lock.namespace}/{lock.name} meanwhile"
                )


async def lead(
    cluster: Cluster, settings: Settings, act: Callable[[], Coroutine[None, None, None]]
) -> None:
    """Acquire the Lease, then call `act` while this replica holds it.

    Raises:
        LeaseLost: in a group; another replica holds the Lease, or held it meanwhile.
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
