"""Writes the status of resources, and posts the Events about what changed in it."""

import logging
from collections.abc import Callable
from typing import Any

from mistral_operator.api import Resource, Status
from mistral_operator.control.dependencies import Dependencies
from mistral_operator.control.desired import Desired
from mistral_operator.kube.errors import ClusterError
from mistral_operator.kube.objects import Body, Key, key_of
from mistral_operator.kube.timestamps import to_seconds
from mistral_operator.metrics import WRITES
from mistral_operator.status import StatusInput
from mistral_operator.status.events import memory_events, scaling_event, transition_events

log = logging.getLogger(__name__)

Report = Callable[[StatusInput, str], Status]
"""Makes a status of what is observed, at a time."""


class StatusWriter:
    """The only writer of the status of resources."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    async def record(self, desired: Desired, previous: Status) -> Status:
        """Write the decisions that are not recorded yet; return the status as it is then.

        This comes before anything is done about them: an operator that is killed in between leaves
        its successor the decision, whose grounds may be gone by then.
        """
        status = desired.to_record(previous)
        if status is None:
            return previous
        now, resource = self._dependencies.now(), desired.written
        if await self._write(resource, status):
            events = memory_events(resource, previous.oom, desired.oom, now)
            announced = previous.autoscaling is not None and desired.scales_anew(previous)
            if announced and desired.scaling is not None:
                events = [scaling_event(resource, desired.scaling, now), *events]
            await self._post_all(resource, events)
        return status

    async def report(self, status_input: StatusInput, make: Report) -> Status:
        """Write the status if it changed, with an Event for each transition, and return it."""
        now = self._dependencies.now()
        status = make(status_input, to_seconds(now))
        resource, before = status_input.resource, status_input.previous
        key = Key(resource.namespace, resource.name)
        self._dependencies.fleet.statuses[key] = status, status.desired_replicas
        if status != before and await self._write(resource, status):
            await self._post_all(resource, transition_events(resource, before, status, now))
        return status

    async def _write(self, resource: Resource, status: Status) -> bool:
        """Write a status; return whether the resource still exists."""
        content = status.model_dump(by_alias=True, exclude_none=True)
        cluster = self._dependencies.cluster
        try:
            live = await cluster.apply_status(resource.name, resource.namespace, content)
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        WRITES.labels(kind="MistralSmallDeployment", verb="status").inc()
        self._take_in(live)
        return True

    def _take_in(self, live: Body) -> None:
        """Keep the response to a write; requeue a resource that was edited meanwhile.

        The response is newer than the watch event of that edit, which is ignored when it comes.
        """
        key, resources = key_of(live), self._dependencies.store.resources
        before = resources.get(key)
        resources.put(live)
        after = resources.get(key)
        if before is None or after is None or _without_status(before) != _without_status(after):
            self._dependencies.requeue(key)

    async def _post_all(self, resource: Resource, events: list[dict[str, Any]]) -> None:
        for event in events:
            try:
                await self._dependencies.cluster.post_event(resource.namespace, event)
            except ClusterError as error:
                # The status says the same; a rejected Event must not hold the resource up.
                log.warning("%s/%s: event rejected: %s", resource.namespace, resource.name, error)


def _without_status(body: Body) -> Body:
    return {key: one for key, one in body.items() if key != "status"}
