"""Polls /signals of the pods and keeps the last document of each.

A starting pod is polled often, since users watch its stage. A ready pod is polled rarely, unless
its load counts for autoscaling. A pod that does not respond is polled with increasing delay.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import aiohttp

from mistral_operator.isolation import Isolation
from mistral_operator.kube.names import HEALTH_PORT
from mistral_operator.kube.objects import Key
from mistral_operator.signals.polling import fetch_document, url_host
from mistral_operator.watch.facts import PodFacts
from mistral_operator.watch.store import Store
from mistral_server.contract import SignalDocument

_READY_FACTOR = 6
"""Ready pods are polled this many times less often than starting ones."""
_LONGEST_FACTOR = 12
_CONCURRENCY = 20


@dataclass(slots=True)
class _PodRecord:
    """The last document of one pod, and when to poll it next."""

    owner: Key
    next_poll: float = 0.0
    failed_polls: int = 0
    polled_when_ready: bool = False
    document: SignalDocument | None = None
    received_at: float = 0.0
    last_busy_at: float = 0.0
    """When a document last showed activity. The first document counts as activity."""


class SignalBoard:
    """The last document of every pod, by pod uid."""

    def __init__(self) -> None:
        self._records: dict[str, _PodRecord] = {}

    def documents(self, pods: Iterable[PodFacts]) -> dict[str, SignalDocument]:
        """Return the last documents of some pods, by pod uid."""
        records = ((pod.uid, self._records.get(pod.uid)) for pod in pods)
        return {
            uid: record.document
            for uid, record in records
            if record is not None and record.document is not None
        }

    def recent(self, pod: PodFacts, since: float) -> SignalDocument | None:
        """Return the document of a pod if it was received after a time of the monotonic clock."""
        record = self._records.get(pod.uid)
        return record.document if record is not None and record.received_at > since else None

    def was_busy(self, pod: PodFacts, since: float) -> bool:
        """Return whether a pod was busy after a time of the monotonic clock."""
        record = self._records.get(pod.uid)
        return record is not None and record.last_busy_at > since

    def record(self, pod: PodFacts) -> _PodRecord:
        """Return the record of a pod, created on first use."""
        return self._records.setdefault(pod.uid, _PodRecord(Key(pod.namespace, pod.owner)))

    def retain(self, uids: set[str]) -> None:
        """Remove the records of all other pods."""
        for uid in self._records.keys() - uids:
            del self._records[uid]


class SignalPoller:
    """Polls pods, and reports when a document changes the status of their resource."""

    def __init__(
        self,
        store: Store,
        board: SignalBoard,
        changed: Callable[[Key], None],
        period: float,
        timeout: float = 3.0,
        ready_period: Callable[[Key], float | None] = lambda _: None,
    ) -> None:
        self._store = store
        self._board = board
        self._changed = changed
        self._period = period
        self._ready_period = ready_period
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._slots = asyncio.Semaphore(_CONCURRENCY)
        self._isolation = Isolation("pod signals")

    async def run(self) -> None:
        """Poll forever."""
        async with aiohttp.ClientSession(timeout=self._timeout) as session:
            while True:
                pods = [pod for pod in self._store.pods.values() if _is_reachable(pod)]
                self._board.retain({pod.uid for pod in pods})
                now = time.monotonic()
                due = [pod for pod in pods if self._is_due(pod, now)]
                await asyncio.gather(*(self._poll_safely(session, pod) for pod in due))
                await asyncio.sleep(min(1.0, self._period))

    def _is_due(self, pod: PodFacts, now: float) -> bool:
        record = self._board.record(pod)
        # A pod that has just become ready reports the effective settings of its engine.
        return record.next_poll <= now or record.polled_when_ready != pod.ready

    async def _poll_safely(self, session: aiohttp.ClientSession, pod: PodFacts) -> None:
        """Poll a pod; what it sends must not stop the polling of the others."""
        with self._isolation.of(f"{pod.namespace}/{pod.name}"):
            await self._poll(session, pod)

    async def _poll(self, session: aiohttp.ClientSession, pod: PodFacts) -> None:
        record = self._board.record(pod)
        record.polled_when_ready = pod.ready
        async with self._slots:
            url = f"http://{url_host(pod.ip or '')}:{HEALTH_PORT}/signals"
            document = await fetch_document(session, url, SignalDocument.read)
        if document is None:
            record.failed_polls += 1
            record.next_poll = time.monotonic() + self._period * min(
                record.failed_polls, _LONGEST_FACTOR
            )
            return
        record.failed_polls, record.received_at = 0, time.monotonic()
        record.next_poll = record.received_at + self._poll_interval(record, pod, document)
        before, record.document = record.document, document
        if before is None or _is_busy(before, document):
            record.last_busy_at = record.received_at
        if before is None or _status_fields(before) != _status_fields(document):
            self._changed(record.owner)

    def _poll_interval(self, record: _PodRecord, pod: PodFacts, document: SignalDocument) -> float:
        """Return the delay until a pod that has just responded is polled again."""
        if not (pod.ready and document.ready):
            return self._period
        usual = self._period * _READY_FACTOR
        return min(usual, self._ready_period(record.owner) or usual)


def _is_reachable(pod: PodFacts) -> bool:
    return pod.ip is not None and pod.phase == "Running" and not pod.terminating


def _is_busy(before: SignalDocument, document: SignalDocument) -> bool:
    return bool(document.running or document.waiting) or document.tokens != before.tokens


def _status_fields(document: SignalDocument) -> tuple[object, ...]:
    """Return the part of a document that is shown in the status, without request counts."""
    return document.stage, document.ready, document.effective, document.kv_pressure
