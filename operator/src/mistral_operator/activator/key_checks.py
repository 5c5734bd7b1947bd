"""Checks API keys against the digests of an endpoint, while none of its replicas runs.

A digest takes long, and anyone can make up keys. So one is computed at a time, in another thread
and for at most half of the time. Namespaces take turns, and within one the addresses of clients,
after the keys that a replica has accepted before. Results are kept, of right and of wrong keys. A
key whose clients have all left is not checked.
"""

import asyncio
import ipaddress
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from mistral_operator.activator.accepted_keys import fingerprint, key_bytes
from mistral_operator.activator.quiet_log import QuietLog
from mistral_operator.scale_to_zero import StoredKeys
from mistral_server.contract import key_digest

log = logging.getLogger(__name__)

_MAX_RESULTS = 10_000
"""Digests of keys that are remembered, about 350 bytes each."""
_MAX_OF_SOURCE = 16
_MAX_OF_NAMESPACE = 64
"""Keys that wait for their check: at 160 ms each, the last of them waits ten seconds. As many may
wait in addition that a replica accepted before. In a full namespace, sources with many keys give
way to those with few."""

_Job = tuple[str, bytes]
"""Salt and fingerprint of a key."""
_Sources = OrderedDict[str, OrderedDict[_Job, str]]
"""Keys by the address of their client."""


class TooManyChecks(Exception):
    """Too many other keys of a namespace or a client are waiting for their check."""


class Turns:
    """Keys that wait for their check; namespaces take turns, and the sources within each."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, _Sources] = OrderedDict()

    def put(self, namespace: str, source: str, job: _Job, key: str) -> _Job | None:
        """Add a key, and return the one that gives way to it in a full namespace.

        An empty source comes first, and has a limit of its own.

        Raises:
            TooManyChecks: the source is at its limit, or the namespace, and no source has more.
        """
        sources = self._waiting.get(namespace, OrderedDict())
        own = sources.get(source, OrderedDict())
        count = sum(len(one) for name, one in sources.items() if name) if source else len(own)
        if len(own) >= (_MAX_OF_SOURCE if source else _MAX_OF_NAMESPACE):
            raise TooManyChecks
        removed = None
        if count >= _MAX_OF_NAMESPACE:
            largest = _source_to_shrink(sources, source)
            removed = next(reversed(sources[largest]))
            self.remove(namespace, largest, removed)
        own[job] = key
        sources[source] = own
        self._waiting[namespace] = sources
        return removed

    def take(self) -> tuple[_Job, str] | None:
        """Remove and return the next key, None without any."""
        if not self._waiting:
            return None
        namespace, sources = self._waiting.popitem(last=False)
        source = "" if "" in sources else next(iter(sources))
        own = sources.pop(source)
        taken = own.popitem(last=False)
        # Both wait behind all others now.
        if own:
            sources[source] = own
        if sources:
            self._waiting[namespace] = sources
        return taken

    def remove(self, namespace: str, source: str, job: _Job) -> bool:
        """Remove a key; return whether it was waiting."""
        sources = self._waiting.get(namespace, OrderedDict())
        own = sources.get(source, OrderedDict())
        if own.pop(job, None) is None:
            return False
        if not own:
            del sources[source]
        if not sources:
            del self._waiting[namespace]
        return True


def _source_to_shrink(sources: _Sources, newcomer: str) -> str:
    """Return the source whose newest key gives way to the first keys of another one.

    Networks are compared before addresses: a client with an IPv6 network has all its addresses.

    Raises:
        TooManyChecks: none has more keys than the newcomer.
    """
    counts = Counter[str]()
    for source, keys in sources.items():
        if source:
            counts[_network(source)] += len(keys)
    own = _network(newcomer)
    ((largest, most),) = counts.most_common(1)
    others = most > counts[own] + 1
    network = largest if others else own
    sizes = {one: len(keys) for one, keys in sources.items() if one and _network(one) == network}
    source = max(sizes, key=sizes.__getitem__, default=newcomer)
    if not others and sizes.get(source, 0) <= sizes.get(newcomer, 0) + 1:
        raise TooManyChecks
    return source


@lru_cache(4096)
def _network(source: str) -> str:
    """Return the /64 of an IPv6 address, another address as it is."""
    with suppress(ValueError):
        address = ipaddress.ip_address(source)
        if address.version == 6:
            return str(ipaddress.ip_network((int(address), 64), strict=False))
    return source


@dataclass(slots=True)
class _Check:
    """The check of one key for all clients that send it."""

    namespace: str
    source: str
    digest: asyncio.Future[str | None]
    clients: int = 0


class KeyChecks:
    """The checks of one process.

    Args:
        digest: computes the digest of a key with a salt.
    """

    def __init__(self, digest: Callable[[bytes, str], str] = key_digest) -> None:
        self._digest = digest
        self._results: OrderedDict[_Job, str] = OrderedDict()
        self._running: dict[_Job, _Check] = {}
        self._turns = Turns()
        self._worker: asyncio.Task[None] | None = None
        self._log = QuietLog(log)

    async def is_right(
        self, keys: StoredKeys, key: str, *, namespace: str, source: str
    ) -> bool | None:
        """Return whether a key is one of an endpoint, None if this machine cannot check it.

        Args:
            keys: digests of the endpoint.
            key: the key.
            namespace: namespace of the endpoint.
            source: address of the client; empty for a key that a replica accepted before.

        Raises:
            TooManyChecks: too many other keys are waiting, or this one gave way to another.
        """
        job = keys.salt, fingerprint(key)
        digest = self._results.get(job)
        if digest is None:
            digest = await self._shared(job, namespace, source, key)
        else:
            self._results.move_to_end(job)
        return None if digest is None else digest in keys.digests

    async def _shared(self, job: _Job, namespace: str, source: str, key: str) -> str | None:
        """Return the digest; requests with one key share its check until the last of them left."""
        check = self._running.get(job) or self._start(job, namespace, source, key)
        check.clients += 1
        try:
            return await asyncio.shield(check.digest)
        finally:
            check.clients -= 1
            left = not check.clients and self._running.get(job) is check
            # A check that has begun is completed.
            if left and self._turns.remove(check.namespace, check.source, job):
                del self._running[job]

    def _start(self, job: _Job, namespace: str, source: str, key: str) -> _Check:
        removed = self._turns.put(namespace, source, job, key)
        if removed is not None:
            self._running.pop(removed).digest.set_exception(TooManyChecks())
        check = _Check(namespace, source, asyncio.get_running_loop().create_future())
        self._running[job] = check
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return check

    async def _work(self) -> None:
        """Check keys until none waits."""
        while (taken := self._turns.take()) is not None:
            (job, key), started = taken, time.monotonic()
            digest = await self._compute(key, job[0])
            if digest is not None:
                self._results[job] = digest
                if len(self._results) > _MAX_RESULTS:
                    self._results.popitem(last=False)
            self._running.pop(job).digest.set_result(digest)
            await asyncio.sleep(time.monotonic() - started)

    async def _compute(self, key: str, salt: str) -> str | None:
        try:
            return await asyncio.to_thread(self._digest, key_bytes(key), salt)
        except Exception as error:
            # Such as a cryptography library without scrypt. Waiting clients need an answer.
            self._log.warning(repr(type(error)), f"cannot check API keys: {error!r}")
            return None
