"""Events about edits of children that were undone: otherwise an edit just vanishes."""

import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping

from mistral_operator.api import Resource
from mistral_operator.apply.plan import CHANGED, Apply, Plan
from mistral_operator.control.dependencies import Dependencies
from mistral_operator.control.event_folding import post_or_fold
from mistral_operator.kube.errors import ClusterError
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Key
from mistral_operator.status.events import undone_event
from mistral_operator.watch.live_children import LiveChild

log = logging.getLogger(__name__)

Live = Mapping[tuple[Kind, str], LiveChild]

WINDOW_SECONDS = 3600.0
MOST_OF_A_FIELD = 3
"""Edits of one field that are reported within the window: one that repeats costs few writes."""
MOST = 10
"""Edits of one resource that are reported within the window."""

_REPLICAS = "/spec/replicas"


class UndoneEdits:
    """Posts an Event for each edit that a plan undoes.

    Args:
        dependencies: the client and the time of day.
        clock: the time in seconds; only goes forward.
    """

    def __init__(
        self, dependencies: Dependencies, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._dependencies = dependencies
        self._clock = clock
        self._posted: defaultdict[Key, deque[tuple[float, str]]] = defaultdict(
            lambda: deque(maxlen=MOST)
        )

    async def post(self, resource: Resource, plan: Plan, live: Live) -> None:
        """Post the Events of a plan that was carried out, as far as the API server takes them.

        Args:
            resource: the owner of the children.
            plan: what was done.
            live: the children before it.
        """
        for step in plan.applies:
            edited = live.get((step.kind, step.name))
            if edited is None or not step.reason.endswith(CHANGED):
                continue
            pointer = step.reason.removesuffix(CHANGED)
            if self._is_news(Key(resource.namespace, resource.name), f"{step.name}{pointer}"):
                await self._post(resource, _note(resource, step, pointer), edited.fingerprint)

    def forget(self, key: Key) -> None:
        """Forget a resource that is gone."""
        self._posted.pop(key, None)

    def _is_news(self, key: Key, field: str) -> bool:
        posted, now = self._posted[key], self._clock()
        recent = [one for at, one in posted if at > now - WINDOW_SECONDS]
        if len(recent) >= MOST or recent.count(field) >= MOST_OF_A_FIELD:
            return False
        posted.append((now, field))
        return True

    async def _post(self, resource: Resource, note: str, version: str) -> None:
        event = undone_event(resource, note, version, self._dependencies.now())
        try:
            await post_or_fold(self._dependencies.cluster, event)
        except ClusterError as error:
            # It says nothing that the log does not: no pass waits for it.
            log.info("%s/%s: %s", resource.namespace, resource.name, error)


def _note(resource: Resource, step: Apply, pointer: str) -> str:
    parts = [one.replace("~1", "/").replace("~0", "~") for one in pointer.split("/")[1:]]
    field = "".join(f"[{one}]" if one.isdigit() else f".{one}" for one in parts).lstrip(".")
    instead = (
        f"scale the resource instead: kubectl scale msd/{resource.name}"
        if pointer == _REPLICAS
        else f"edit MistralSmallDeployment {resource.name} instead"
    )
    return f"{step.kind.kind} {step.name}: {field} was changed and is set back; {instead}"
