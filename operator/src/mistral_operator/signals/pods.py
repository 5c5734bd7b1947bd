"""What the pods say of themselves: polls /signals and keeps the last answer of each.

A pod that is starting is asked often, since its stage is what a person waits for; a ready one
seldom, unless its load decides how many replicas there are; one that does not answer less and less.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import aiohttp

from mistral_operator.kube.names import HEALTH_PORT
from mistral_operator.kube.objects import Key
from mistral_operator.signals.polling import fetch, url_host
from mistral_operator.watch.facts import PodFacts
from mistral_operator.watch.store import Store
from mistral_server.contract import SignalDocument

_READY_FACTOR = 6
"""Ready pods are asked this many times less often than starting ones."""
_LONGEST_FACTOR = 12
_CONCURRENCY = 20


@dataclass(slots=True)
class _Line:
    """One pod's place on the board."""

    owner: Key
    next_poll: float = 0.0
    silences: int = 0
    asked_when_ready: bool = False
    said: SignalDocument | None = None
    said_at: float = 0.0
    busy_at: float = 0.0
    """When an answer last showed work; also the first answer, of which nobody can tell."""


class SignalBoard:
    """The last words of every pod, by pod uid."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def of(self, pods: Iterable[PodFacts]) -> dict[str, SignalDocument]:
        """Return what the given pods last said."""
        lines = ((pod.uid, self._lines.get(pod.uid)) for pod in pods)
        return {uid: line.said for uid, line in lines if line is not None and line.said is not None}

    def lately(self, pod: PodFacts, since: float) -> SignalDocument | None:
        """Return what a pod said after a time of the monotonic clock, if it did."""
        line = self._lines.get(pod.uid)
        return line.said if line is not None and line.said_at > since else None

    def was_busy(self, pod: PodFacts, since: float) -> bool:
        """Tell whether a pod had anything to do after a time of the monotonic clock."""
        line = self._lines.get(pod.uid)
        return line is not None and line.busy_at > since

    def line(self, pod: PodFacts) -> _Line:
        """Return the place of a pod, made on first use."""
        return self._lines.setdefault(pod.uid, _Line(Key(pod.namespace, pod.owner)))

    def keep_only(self, uids: set[str]) -> None:
        """Forget the pods that are gone."""
        for uid in self._lines.keys() - uids:
            del self._lines[uid]


class SignalPoller:
    """Asks pods for ever and tells when an answer changes what is reported."""

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

    async def run(self) -> None:
        """Poll for ever."""
        async with aiohttp.ClientSession(timeout=self._timeout) as session:
            while True:
                pods = [pod for pod in self._store.pods.values() if _can_answer(pod)]
                self._board.keep_only({pod.uid for pod in pods})
                now = time.monotonic()
                due = [pod for pod in pods if self._is_due(pod, now)]
                await asyncio.gather(*(self._ask(session, pod) for pod in due))
                await asyncio.sleep(min(1.0, self._period))

    def _is_due(self, pod: PodFacts, now: float) -> bool:
        line = self._board.line(pod)
        # A pod that has just become ready has news: the configuration that it found.
        return line.next_poll <= now or line.asked_when_ready != pod.ready

    async def _ask(self, session: aiohttp.ClientSession, pod: PodFacts) -> None:
        line = self._board.line(pod)
        line.asked_when_ready = pod.ready
        async with self._slots:
            url = f"http://{url_host(pod.ip or '')}:{HEALTH_PORT}/signals"
            said = await fetch(session, url, SignalDocument)
        if said is None:
            line.silences += 1
            line.next_poll = time.monotonic() + self._period * min(line.silences, _LONGEST_FACTOR)
            return
        line.silences, line.said_at = 0, time.monotonic()
        line.next_poll = line.said_at + self._pause(line, pod, said)
        before, line.said = line.said, said
        if before is None or _is_at_work(before, said):
            line.busy_at = line.said_at
        if before is None or _reported(before) != _reported(said):
            self._changed(line.owner)

    def _pause(self, line: _Line, pod: PodFacts, said: SignalDocument) -> float:
        """Return how long to leave a pod alone that has just answered."""
        if not (pod.ready and said.ready):
            return self._period
        usual = self._period * _READY_FACTOR
        return min(usual, self._ready_period(line.owner) or usual)


def _can_answer(pod: PodFacts) -> bool:
    return pod.ip is not None and pod.phase == "Running" and not pod.terminating


def _is_at_work(before: SignalDocument, said: SignalDocument) -> bool:
    return bool(said.running or said.waiting) or said.tokens != before.tokens


def _reported(said: SignalDocument) -> tuple[object, ...]:
    """Return the part of a document that shows in a status; request counts do not."""
    return said.stage, said.ready, said.effective, said.kv_pressure
