"""Posts Events before the status that records their transitions, each of them exactly once.

An Event that the API server cannot take now holds the status back for a few attempts, so that it
survives an operator that is killed meanwhile. After that it waits here: the resource comes before
its Events.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from mistral_operator.control.dependencies import Dependencies
from mistral_operator.control.event_folding import Event, post_or_fold
from mistral_operator.kube.errors import ClusterError, NamespaceTerminating, Unavailable
from mistral_operator.kube.names import ANNOTATION_FOLLOWS
from mistral_operator.kube.objects import Key

log = logging.getLogger(__name__)

HELD_BACK = 4
"""Attempts for which a status waits for its Events: with the queue's back-off, about 10 s."""
RETRY_SECONDS = 15.0
"""Until the next attempt once the status does not wait any more."""


@dataclass(slots=True)
class _Backlog:
    """Events of a resource that could not be posted yet."""

    failures: int = 0
    events: dict[tuple[str, str], Event] = field(default_factory=dict)
    """By name and what they follow, the oldest first; filled once the status does not wait any
    more."""


class EventPoster:
    """Posts the Events of resources."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._cluster = dependencies.cluster
        self._requeue_after = dependencies.requeue_after
        self._backlogs: dict[Key, _Backlog] = {}

    async def post(self, key: Key, events: Iterable[Event]) -> None:
        """Post the Events of transitions that are about to be recorded, and those that wait.

        Raises:
            Unavailable: the API server takes none now; nothing must be recorded yet.
        """
        backlog = self._backlogs.get(key, _Backlog())
        left = {**backlog.events, **{_occurrence(one): one for one in events}}
        try:
            for occurrence, event in list(left.items()):
                await self._post(key, event)
                del left[occurrence]
        except Unavailable as error:
            backlog.failures += 1
            self._backlogs[key] = backlog
            if backlog.failures < HELD_BACK:
                raise
            if backlog.failures == HELD_BACK:
                log.warning("%s/%s: %s; the status does not wait for it", *key, error)
            backlog.events = left
            self._requeue_after(key, RETRY_SECONDS)
        else:
            self._backlogs.pop(key, None)

    def forget(self, key: Key) -> None:
        """Forget a resource that is gone."""
        self._backlogs.pop(key, None)

    async def _post(self, key: Key, event: Event) -> None:
        """Post an Event, unless it is counted already or the API server will never take it."""
        try:
            await post_or_fold(self._cluster, event)
        except Unavailable:
            raise
        except NamespaceTerminating:
            return  # the resource goes with its namespace
        except ClusterError as error:
            log.warning("%s/%s: Event %s is lost: %s", *key, event["reason"], error)


def _occurrence(event: Event) -> tuple[str, str]:
    """Return what makes two posts the same: the Event, and what it follows."""
    metadata = event["metadata"]
    return metadata["name"], metadata["annotations"][ANNOTATION_FOLLOWS]
