"""Writes the status of resources, after the Events about what changed in it.

Each write is for one version of a resource. If it changed meanwhile, the write is refused, and the
next pass knows the change.
"""

import logging
from collections.abc import Callable

from mistral_operator.api import Resource, Status, parse_status
from mistral_operator.api.parsed_status import foreign_conditions
from mistral_operator.control.collectors import Reported
from mistral_operator.control.dependencies import Dependencies
from mistral_operator.control.desired import Desired
from mistral_operator.control.event_poster import EventPoster
from mistral_operator.control.resource_gone import ResourceGone, confirm
from mistral_operator.kube.errors import ClusterError, Unavailable
from mistral_operator.kube.kinds import RESOURCE
from mistral_operator.kube.objects import Body, Key, key_of
from mistral_operator.kube.timestamps import to_seconds
from mistral_operator.kube.transport import Object
from mistral_operator.metrics import WRITES
from mistral_operator.status import StatusInput
from mistral_operator.status.events import memory_events, scaling_event, transition_events
from mistral_operator.watch.index import version_of

log = logging.getLogger(__name__)

_OUTDATED = {404, 409, 422}
"""Statuses of a write to a resource that is gone, that changed, or that was created anew."""

Report = Callable[[StatusInput, str], Status]
"""Makes a status of what is observed, at a time."""


class StatusWriter:
    """The only writer of the status of resources."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._events = EventPoster(dependencies)

    async def record(self, desired: Desired, previous: Status) -> Status:
        """Write the decisions that are not recorded yet; return the status as it is then.

        This comes before anything is done about them: an operator that is killed in between leaves
        its successor the decision, whose grounds may be gone by then.
        """
        status = desired.to_record(previous)
        if status is None:
            return previous
        now, resource = self._dependencies.now(), desired.written
        events = memory_events(resource, previous, desired.oom, now)
        announced = previous.autoscaling is not None and desired.scales_anew(previous)
        if announced and desired.scaling is not None:
            events = [scaling_event(resource, previous, desired.scaling, now), *events]
        await self._events.post(_key(resource), events)
        status = status.model_copy(update={"last_update_time": now})
        await self._write(resource, status)
        return status

    async def report(self, status_input: StatusInput, make: Report) -> Status:
        """Write the status if it changed, with an Event for each transition, and return it."""
        now = self._dependencies.now()
        resource, before = status_input.resource, status_input.previous
        status = make(status_input, to_seconds(now))
        status = status.model_copy(update={"last_update_time": before.last_update_time})
        reported = Reported.of(status, status.desired_replicas)
        self._dependencies.fleet.statuses[_key(resource)] = reported
        changed = status != before or not self._is_live(resource, before)
        events = transition_events(resource, before, status, now) if changed else []
        await self._events.post(_key(resource), events)
        if not changed:
            return status
        status = status.model_copy(update={"last_update_time": now})
        await self._write(resource, status)
        return status

    def forget(self, key: Key) -> None:
        """Forget a resource that is gone."""
        self._events.forget(key)
        self._dependencies.fleet.statuses.pop(key, None)

    async def _write(self, resource: Resource, status: Status) -> None:
        """Write a status.

        Raises:
            ResourceGone: the resource does not exist, or is another one of the same name.
            Unavailable: it was edited meanwhile; it is queued again.
        """
        content = status.model_dump(by_alias=True, exclude_none=True)
        key, resources = _key(resource), self._dependencies.store.resources
        version = resources.version(key)
        try:
            live = await self._apply(resource, content)
            if parse_status(live.get("status")) != (status, True):
                version = version_of(live)
                live = await self._replace(resource, content, live)
        except ClusterError as error:
            if error.status in _OUTDATED:
                await confirm(self._dependencies, resource)
                if resources.version(key) != version:
                    reason = f"it changed meanwhile: {error.reason}"
                    raise Unavailable(409, reason, f"PATCH {RESOURCE.path(*key)}") from error
            raise
        self._take_in(live)

    async def _apply(self, resource: Resource, content: Object) -> Object:
        key, resources = _key(resource), self._dependencies.store.resources
        body = resources.get(key)
        if body is None or body["metadata"]["uid"] != resource.uid:
            raise ResourceGone(f"{key.namespace}/{key.name} ({resource.uid}) was deleted")
        live = await self._dependencies.cluster.apply_status(
            key.name, key.namespace, resources.version(key), content
        )
        WRITES.labels(kind="MistralSmallDeployment", verb="status").inc()
        return live

    async def _replace(self, resource: Resource, content: Object, live: Object) -> Object:
        """Remove what others added to a status; a server-side apply leaves it there.

        Refused if it changed since: a condition that another controller added then would be lost.
        """
        conditions = [*content["conditions"], *foreign_conditions(live.get("status"))]
        log.info("%s/%s: replacing an edited status", resource.namespace, resource.name)
        value = {**content, "conditions": conditions}
        version = live["metadata"]["resourceVersion"]
        operations: list[Object] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": "/status", "value": value},
        ]
        cluster, at = self._dependencies.cluster, (resource.namespace, resource.name)
        return await cluster.patch(RESOURCE, *at, operations, subresource="status")

    def _is_live(self, resource: Resource, status: Status) -> bool:
        """Tell whether the API server holds a status, and nothing that does not belong there."""
        body = self._dependencies.store.resources.get(_key(resource))
        return body is None or parse_status(body.get("status")) == (status, True)

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


def _key(resource: Resource) -> Key:
    return Key(resource.namespace, resource.name)


def _without_status(body: Body) -> Body:
    return {key: one for key, one in body.items() if key != "status"}
