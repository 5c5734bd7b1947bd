"""Carry out a plan: the writes, and what stood in their way."""

import logging
from dataclasses import replace
from functools import partial

from mistral_operator.api import Reason, Resource
from mistral_operator.api.status import Problem
from mistral_operator.apply.diff import first_difference, repair
from mistral_operator.apply.plan import Apply, Delete, Obstacle, Plan
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import (
    ClusterError,
    NamespaceTerminating,
    NameTaken,
    Occupied,
    Unavailable,
)
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Key
from mistral_operator.kube.transport import Object
from mistral_operator.metrics import WRITES
from mistral_operator.watch.live_children import live_child
from mistral_operator.watch.store import Store

log = logging.getLogger(__name__)

_WEBHOOK_FAILED = 500
"""Status of a write whose admission webhook does not respond. It may be that of one kind."""
_MOST_REPAIRS = 10
"""Differences repaired in one run; the next reconciliation repairs more, so that each run ends."""


class Executor:
    """Carries out plans and keeps the store up to date with its own writes."""

    def __init__(self, cluster: Cluster, store: Store) -> None:
        self._cluster = cluster
        self._store = store

    async def execute(self, resource: Resource, plan: Plan) -> list[Problem]:
        """Take every step that can be taken; return what could not be done and why.

        Raises:
            Unavailable: the API server cannot be reached; nothing can be said of the resource.
            NamespaceTerminating: the namespace is being deleted.
        """
        problems = [_obstacle_problem(obstacle) for obstacle in plan.obstacles]
        failures: list[Unavailable] = []
        steps = [
            *(partial(self._apply, resource, one) for one in plan.applies),
            *(partial(self._delete, resource, one) for one in plan.deletes),
        ]
        for step in steps:
            try:
                problem = await step()
            except Unavailable as error:
                if error.status != _WEBHOOK_FAILED:
                    raise
                # Others of its kinds may be accepted, and must not wait for it.
                failures.append(error)
                continue
            if problem is not None:
                problems.append(problem)
        if failures:
            raise failures[0]
        return problems

    async def _delete(self, resource: Resource, step: Delete) -> Problem | None:
        try:
            version = self._version(resource, step) if step.unchanged else None
            await self._cluster.delete(
                step.kind,
                resource.namespace,
                step.name,
                step.uid,
                version,
                foreground=step.waits_for_pods,
            )
        except (Unavailable, NamespaceTerminating):
            raise
        except ClusterError as error:
            message = f"cannot delete {step.kind.kind} {step.name}: {error.reason}"
            return Problem(Reason.APPLY_FAILED, message)
        WRITES.labels(kind=step.kind.kind, verb="delete").inc()
        return None

    def _version(self, resource: Resource, step: Delete) -> int:
        return self._store.children[step.kind].version(Key(resource.namespace, step.name))

    async def _apply(self, resource: Resource, step: Apply) -> Problem | None:
        try:
            live = await self._apply_or_refuse(resource, step)
        except (Unavailable, NamespaceTerminating):
            raise
        except NameTaken as error:
            return Problem(Reason.NAME_TAKEN, error.reason)
        except ClusterError as error:
            return Problem(Reason.APPLY_FAILED, f"{step.kind.kind} {step.name}: {error.reason}")
        WRITES.labels(kind=step.kind.kind, verb="apply").inc()
        self._store.children[step.kind].put(live)
        return None

    async def _apply_or_refuse(self, resource: Resource, step: Apply) -> Object:
        """Create the object, or apply over ours; an object of the name that is not ours stays."""
        if step.only_replicas:
            return await self._scale(resource, step)
        if step.exists:
            return await self._take_back(resource, step)
        try:
            return await self._cluster.create(step.desired)
        except Occupied:
            # It may be ours without its labels, or created a moment ago.
            uid = await self._uid_of_ours(resource, step.kind, step.name)
            if uid is None:
                raise
        return await self._take_back(resource, replace(step, uid=uid))

    async def _scale(self, resource: Resource, step: Apply) -> Object:
        """Set the replicas of a Deployment of ours, and leave the rest of it as it is."""
        operations: list[Object] = [
            {"op": "test", "path": "/metadata/uid", "value": step.uid},
            {"op": "replace", "path": "/spec/replicas", "value": step.desired["spec"]["replicas"]},
        ]
        try:
            return await self._cluster.patch(step.kind, resource.namespace, step.name, operations)
        except ClusterError as error:
            if error.status in {404, 422}:
                await self._still_there(resource, step)
            raise

    async def _take_back(self, resource: Resource, step: Apply) -> Object:
        """Apply over an object of ours, whatever edits it has."""
        try:
            live = await self._cluster.apply(step.desired, force=True, uid=step.uid)
        except ClusterError as error:
            if error.status not in {409, 422}:
                raise
            current = await self._still_there(resource, step)
            if error.status == 409:
                raise
            # Merged with a foreign edit, our object is invalid: it may have two ports of one name.
            await self._mend(resource, step, current)
            return await self._cluster.apply(step.desired, force=True, uid=step.uid)
        return await self._mend(resource, step, live)

    async def _still_there(self, resource: Resource, step: Apply) -> Object:
        """Read an object of ours that the API server refuses to change.

        Raises:
            Unavailable: it was deleted, and perhaps created anew. The next pass knows that.
        """
        key, index = Key(resource.namespace, step.name), self._store.children[step.kind]
        current = await self._cluster.get(step.kind, *key)
        if current is not None and step.uid in {None, current["metadata"]["uid"]}:
            return current
        if current is not None:
            index.put(current)
        elif step.uid is not None:
            index.forget(key, step.uid)
        reason = f"{step.kind.kind} {step.name} was deleted or replaced meanwhile"
        raise Unavailable(409, reason, f"PATCH {step.kind.path(*key)}")

    async def _mend(self, resource: Resource, step: Apply, live: Object) -> Object:
        """Replace every difference that applying leaves by the desired value."""
        for _ in range(_MOST_REPAIRS):
            pointer = first_difference(step.desired, live)
            if pointer is None:
                break
            log.info("%s %s: repairing %s", step.kind.kind, step.name, pointer)
            unchanged = {
                "op": "test",
                "path": "/metadata/resourceVersion",
                "value": live["metadata"]["resourceVersion"],
            }
            operations = [unchanged, repair(step.desired, pointer)]
            live = await self._cluster.patch(step.kind, resource.namespace, step.name, operations)
            WRITES.labels(kind=step.kind.kind, verb="repair").inc()
        return live

    async def _uid_of_ours(self, resource: Resource, kind: Kind, name: str) -> str | None:
        """Return the uid of an object of this resource, None if no object has the name.

        Raises:
            NameTaken: this resource does not control it.
        """
        body = await self._cluster.get(kind, resource.namespace, name)
        if body is None:
            return None
        child = live_child(kind, body)
        if child.controller_uid == resource.uid:
            return child.uid
        if child.controller_uid is None and child.digest is not None:
            return child.uid
        raise NameTaken(409, _taken(kind, name), f"PATCH {kind.path(resource.namespace, name)}")


def _taken(kind: Kind, name: str) -> str:
    return (
        f"{kind.kind} {name} exists and does not belong to this resource; it was left as it is."
        " Rename the resource, or delete that object if it is not needed"
    )


def _obstacle_problem(obstacle: Obstacle) -> Problem:
    if obstacle.terminating:
        return Problem(
            Reason.CREATING,
            f"waiting for the old {obstacle.kind.kind} {obstacle.name} to be deleted",
        )
    return Problem(Reason.NAME_TAKEN, _taken(obstacle.kind, obstacle.name))
