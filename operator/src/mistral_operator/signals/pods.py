"""Polls /signals of the pods and keeps the last document of each.

A starting pod is polled often, since users watch its stage. A ready pod is polled rarely, unless
its load counts for autoscaling. A pod that does not respond is polled with increasing delay.

Each pod has a task of its own, and each namespace has slots of its own. So pods of one tenant that
respond late, or not at all, delay no pod of another.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

import aiohttp

from mistral_operator.isolation import Isolation
from mistral_operator.kube.names import HEALTH_PORT
from mistral_operator.kube.objects import Key
from mistral_operator.signals.polling import fetch_document, url_host
from mistral_operator.watch.facts import PodFacts
from mistral_operator.watch.store import Store
from mistral_server.contract import SignalDocument

log = logging.getLogger(__name__)

_READY_FACTOR = 6
"""Ready pods are polled this many times less often than starting ones."""
_LONGEST_FACTOR = 12
_FETCH_STEPS = 25
"""Times that the status is written while a model is fetched: every 2 GB of 48."""
_UNKNOWN_TOTAL = 48 * 10**9
_SLOTS = 10
"""Polls at the same time for each namespace."""


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


Fetch = Callable[[str], Awaitable[SignalDocument | None]]
"""Returns the document at a URL, None if there is none."""


class SignalPoller:
    """Polls pods, and reports when a document changes the status of their resource.

    Args:
        store: has the pods.
        board: receives the documents.
        changed: called with the key of a resource whose status a document changes.
        period: polling interval for starting pods in seconds.
        timeout: time for a response in seconds.
        ready_period: returns the polling interval for ready pods of a resource, None for the usual
            one.
        fetch: fetches a document; by HTTP if None.
        clock: the time in seconds; it only goes forward.
    """

    def __init__(
        self,
        store: Store,
        board: SignalBoard,
        changed: Callable[[Key], None],
        period: float,
        timeout: float = 3.0,
        ready_period: Callable[[Key], float | None] = lambda _: None,
        fetch: Fetch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._board = board
        self._changed = changed
        self._period = period
        self._ready_period = ready_period
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._isolation = Isolation("pod signals")
        self._fetch = fetch
        self._clock = clock
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(_SLOTS)
        )
        self._polls: dict[str, asyncio.Task[None]] = {}
        """Running polls by pod uid."""

    async def run(self) -> None:
        """Poll forever."""
        # The slots limit the connections; a common limit would let one namespace delay the others.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(timeout=self._timeout, connector=connector) as session:

            async def fetch(url: str) -> SignalDocument | None:
                return await fetch_document(session, url, SignalDocument.read)

            try:
                while True:
                    self._start_polls(self._fetch or fetch)
                    await asyncio.sleep(min(1.0, self._period))
            finally:
                for task in self._polls.values():
                    task.cancel()

    def _start_polls(self, fetch: Fetch) -> None:
        """Start a poll of each pod that is due."""
        pods = {pod.uid: pod for pod in self._store.pods.values() if _is_reachable(pod)}
        self._board.retain({*pods})
        for uid in self._polls.keys() - pods.keys():
            self._polls[uid].cancel()
        now = self._clock()
        for uid, pod in pods.items():
            if uid not in self._polls and self._is_due(pod, now):
                task = asyncio.create_task(self._poll(fetch, pod))
                self._polls[uid] = task
                task.add_done_callback(partial(self._finish, pod))
        namespaces = {pod.namespace for pod in pods.values()}
        for namespace in self._slots.keys() - namespaces:
            del self._slots[namespace]

    def _finish(self, pod: PodFacts, task: asyncio.Task[None]) -> None:
        del self._polls[pod.uid]
        if not task.cancelled() and (error := task.exception()) is not None:
            # Whatever one pod sends, the others are polled on, and this one less often.
            with self._isolation.of(f"{pod.namespace}/{pod.name}"):
                raise error
            self._board.record(pod).next_poll = self._clock() + self._period * _LONGEST_FACTOR

    def _is_due(self, pod: PodFacts, now: float) -> bool:
        record = self._board.record(pod)
        # A pod that has just become ready reports the effective settings of its engine.
        return record.next_poll <= now or record.polled_when_ready != pod.ready

    async def _poll(self, fetch: Fetch, pod: PodFacts) -> None:
        record = self._board.record(pod)
        record.polled_when_ready = pod.ready
        async with self._slots[pod.namespace]:
            document = await fetch(f"http://{url_host(pod.ip or '')}:{HEALTH_PORT}/signals")
        if document is None:
            record.failed_polls += 1
            record.next_poll = self._clock() + self._period * min(
                record.failed_polls, _LONGEST_FACTOR
            )
            return
        record.failed_polls, record.received_at = 0, self._clock()
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
    if pod.ip is None or pod.terminating:
        return False
    return pod.phase == "Running" or pod.is_fetching


def _is_busy(before: SignalDocument, document: SignalDocument) -> bool:
    return bool(document.running or document.waiting) or document.tokens != before.tokens


def _status_fields(document: SignalDocument) -> tuple[object, ...]:
    """Return the part of a document that is shown in the status, without request counts."""
    fetch = _fetch_step(document)
    shown = document.stage, document.ready, document.effective, document.kv_pressure
    return *shown, document.compile_cache, fetch


def _fetch_step(document: SignalDocument) -> int | None:
    """Return the progress of a fetch in steps, so that the status is not written at every poll."""
    progress = document.fetch
    if progress is None:
        return None
    return progress.fetched_bytes // max(
        1, (progress.total_bytes or _UNKNOWN_TOTAL) // _FETCH_STEPS
    )
