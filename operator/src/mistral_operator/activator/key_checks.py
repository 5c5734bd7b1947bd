"""Checks API keys against the digests of an endpoint, while none of its replicas runs.

A digest takes long, and anyone can make up keys. So one is computed at a time, in another thread
and for at most half of the time. Namespaces take turns, and within one the addresses of clients,
after the keys that a replica has accepted before. Results are kept, of right and of wrong keys.
"""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from mistral_operator.activator.accepted_keys import fingerprint, key_bytes
from mistral_operator.activator.quiet_log import QuietLog
from mistral_operator.scale_to_zero import StoredKeys
from mistral_server.contract import key_digest

log = logging.getLogger(__name__)

_MAX_RESULTS = 10_000
"""Digests of keys that are remembered, about 350 bytes each."""
_MAX_OF_SOURCE = 16
_MAX_OF_NAMESPACE = 64
"""Keys that wait for their check: at 160 ms each, the last of them waits ten seconds."""

_Job = tuple[str, bytes]
"""Salt and fingerprint of a key."""


class TooManyChecks(Exception):
    """Too many other keys of a namespace or a client are waiting for their check."""


class Turns:
    """Keys that wait for their check; namespaces take turns, and the sources within each."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, OrderedDict[str, deque[tuple[_Job, str]]]] = OrderedDict()

    def put(self, namespace: str, source: str, job: _Job, key: str) -> None:
        """Add a key; an empty source comes first, and without a limit.

        Raises:
            TooManyChecks: the source or the namespace is at its limit.
        """
        sources = self._waiting.get(namespace, OrderedDict())
        own = sources.get(source, deque())
        count = sum(len(one) for name, one in sources.items() if name)
        if source and (len(own) >= _MAX_OF_SOURCE or count >= _MAX_OF_NAMESPACE):
            raise TooManyChecks
        own.append((job, key))
        sources[source] = own
        self._waiting[namespace] = sources

    def take(self) -> tuple[_Job, str] | None:
        """Remove and return the next key, None without any."""
        if not self._waiting:
            return None
        namespace, sources = self._waiting.popitem(last=False)
        source = "" if "" in sources else next(iter(sources))
        own = sources.pop(source)
        taken = own.popleft()
        # Both wait behind all others now.
        if own:
            sources[source] = own
        if sources:
            self._waiting[namespace] = sources
        return taken


class KeyChecks:
    """The checks of one process.

    Args:
        digest: computes the digest of a key with a salt.
    """

    def __init__(self, digest: Callable[[bytes, str], str] = key_digest) -> None:
        self._digest = digest
        self._results: OrderedDict[_Job, str] = OrderedDict()
        self._running: dict[_Job, asyncio.Future[str | None]] = {}
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
            TooManyChecks: too many other keys are waiting.
        """
        job = keys.salt, fingerprint(key)
        digest = self._results.get(job)
        if digest is None:
            # Requests with one key share its check, which goes on if one of the clients leaves.
            running = self._running.get(job) or self._start(namespace, source, job, key)
            digest = await asyncio.shield(running)
        else:
            self._results.move_to_end(job)
        return None if digest is None else digest in keys.digests

    def _start(
        self, namespace: str, source: str, job: _Job, key: str
    ) -> asyncio.Future[str | None]:
        self._turns.put(namespace, source, job, key)
        self._running[job] = asyncio.get_running_loop().create_future()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return self._running[job]

    async def _work(self) -> None:
        """Check keys until none waits."""
        while (taken := self._turns.take()) is not None:
            (job, key), started = taken, time.monotonic()
            digest = await self._compute(key, job[0])
            if digest is not None:
                self._results[job] = digest
                if len(self._results) > _MAX_RESULTS:
                    self._results.popitem(last=False)
            self._running.pop(job).set_result(digest)
            await asyncio.sleep(time.monotonic() - started)

    async def _compute(self, key: str, salt: str) -> str | None:
        try:
            return await asyncio.to_thread(self._digest, key_bytes(key), salt)
        except Exception as error:
            # Such as a cryptography library without scrypt. Waiting clients need an answer.
            self._log.warning(repr(type(error)), f"cannot check API keys: {error!r}")
            return None
