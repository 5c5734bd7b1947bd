"""A namespace with an operator of its own behind a fault proxy, and its state to compare."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fault_activator
from fault_api import NAMESPACE, Api, Object, Refused, until
from fault_operator import OperatorUnderFaults
from fault_proxy import FaultProxy
from mistral_operator.kube import kinds, names
from mistral_operator.kube.kinds import Kind

NAME = "small"
REST_SECONDS = 2.5
"""Time without a write after which a complete operation has settled; bursts last 0.5 s."""
SETTLE_SECONDS = 120.0

_OURS = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
_BOOKKEEPING = {
    *("uid", "resourceVersion", "managedFields", "creationTimestamp", "clusterIP", "clusterIPs"),
    "generation",  # see EndState.revisions
    *("lastTransitionTime", "time", "since", "counted", "status"),
    names.ANNOTATION_APPLIED,  # depends on the owner's uid
    names.ANNOTATION_CONFIGURATION,  # depends on the namespace, which the pod knows
    names.ANNOTATION_PREFETCHED,  # depends on the claim's uid
}
_VARYING = (
    (re.compile(r"\b[a-z]+-[0-9a-f]{6,10}-[a-z0-9]{5}"), "POD"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
)


@dataclass(frozen=True)
class EndState:
    """The state after an operation, without values that differ between runs."""

    objects: dict[str, Any]
    revisions: dict[str, int]
    """Changes of each child since `begin`, and the Deployment's rollouts."""
    created: Counter[str]
    deleted: Counter[str]
    pods: int
    """Number of pods that were created."""

    def differences(self, reference: "EndState") -> list[str]:
        """Return what differs from a reference."""
        differences = [
            f"{part}: {mine} instead of {other}"
            for part in ("revisions", "created", "deleted", "pods")
            if (mine := getattr(self, part)) != (other := getattr(reference, part))
        ]
        return [*differences, *self.object_differences(reference)]

    def object_differences(self, reference: "EndState") -> list[str]:
        """Return where the objects differ from those of a reference."""
        return [*_differences("", self.objects, reference.objects)]


@dataclass
class Lane:
    """One namespace, its operator, and the proxy between operator and API server."""

    api: Api
    namespace: str
    proxy: FaultProxy
    operator: OperatorUnderFaults
    audit_start: int = 0
    taken: int = 0
    revisions: dict[str, int] = field(default_factory=dict)
    """Revisions of the children at the beginning: a preparation may take more or fewer."""
    memory: dict[str, Any] = field(default_factory=dict)
    """Values that a preparation passes to the operation."""

    async def get(self, kind: Kind = kinds.RESOURCE, name: str = NAME) -> Object:
        """Return an object, empty if there is none."""
        return await self.api.get(kind, self.namespace, name) or {}

    async def create(self, spec: Object | None = None, name: str = NAME) -> None:
        """Create a resource."""
        body = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": name},
            "spec": spec or {},
        }
        await self.api.create(kinds.RESOURCE, self.namespace, body)

    async def edit(self, spec: Object, name: str = NAME) -> None:
        """Edit the spec of a resource."""
        await self.api.merge(kinds.RESOURCE, self.namespace, name, {"spec": spec})

    async def scale(self, replicas: int) -> None:
        """Scale a resource by its scale subresource."""
        body = {"spec": {"replicas": replicas}}
        await self.api.merge(kinds.RESOURCE, self.namespace, NAME, body, "scale")

    async def condition(self, kind: str = "Ready", name: str = NAME) -> Object:
        """Return a condition, empty if there is none or it is of an older generation."""
        body = await self.get(name=name)
        conditions = body.get("status", {}).get("conditions", [])
        result: Object = next((one for one in conditions if one["type"] == kind), {})
        current = result.get("observedGeneration") == body.get("metadata", {}).get("generation")
        return result if current else {}

    async def is_ready(self, name: str = NAME) -> bool:
        """Return whether a resource is Ready with all its replicas."""
        body = await self.get(name=name)
        condition = await self.condition(name=name)
        replicas = body.get("spec", {}).get("replicas", 1)
        ready = body.get("status", {}).get("readyReplicas")
        return condition.get("reason") == "Ready" and replicas == ready

    async def pods(self, name: str = NAME) -> list[Object]:
        """Return the pods of a resource that are not terminating."""
        pods = await self.api.list(kinds.POD, self.namespace, f"{names.LABEL_DEPLOYMENT}={name}")
        return [one for one in pods if "deletionTimestamp" not in one["metadata"]]

    def begin(self) -> None:
        """Count from here on."""
        self.proxy.reset()
        self.audit_start = self.api.cluster.audit_position()

    async def begin_with_revisions(self) -> None:
        """Count from here on, changes of the children included."""
        self.begin()
        self.revisions = _revisions(await self._children())

    @property
    def rest_seconds(self) -> float:
        """Seconds since the last write."""
        last = max((one.started_at for one in self.proxy.writes), default=0.0)
        return time.monotonic() - last

    async def settle(
        self, done: Callable[[], Awaitable[bool]], seconds: float = SETTLE_SECONDS
    ) -> float:
        """Wait until a condition holds and writes have stopped; return the time it took."""

        async def settled() -> bool:
            rest = min(self.rest_seconds, await self.operator.acting_seconds())
            return rest > REST_SECONDS and await done()

        return await until(settled, f"{self.namespace} to settle; {self.operator.log}", seconds)

    async def writes_within(self, seconds: float) -> list[str]:
        """Return the writes of a period that begins now."""
        before = len(self.proxy.writes)
        await asyncio.sleep(seconds)
        return [str(one) for one in self.proxy.writes[before:]]

    async def end_state(self) -> EndState:
        """Return the state of the namespace and the changes since `begin`."""
        children = await self._children()
        revisions = _revisions(children)
        objects = {f"{one['kind']} {one['metadata']['name']}": _masked(one) for one in children}
        for body in await self.api.list(kinds.RESOURCE, self.namespace):
            content = {"status": "", "spec": body["spec"]}
            name = body["metadata"]["name"]
            objects[f"{names.KIND} {name}"] = _masked(content)
            objects[f"status of {name}"] = _masked({**body.get("status", {})}, top=True)
        text = json.dumps(objects).replace(self.namespace, "NAMESPACE")
        for port in await fault_activator.ports(self.api, self.namespace):
            # The next endpoint gets another one, unless the operator was started in between.
            text = text.replace(f'"port": {port}', '"port": "PORT OF THE ENDPOINT"')
        return EndState(
            json.loads(text),
            {name: count - self.revisions.get(name, 0) for name, count in revisions.items()},
            *self._made_and_deleted(),
            await self.api.pods_created(self.namespace, self.audit_start),
        )

    async def clear(self) -> None:
        """Delete every resource, and wait until its children are deleted."""
        for body in await self.api.list(kinds.RESOURCE, self.namespace):
            await self.api.delete(kinds.RESOURCE, self.namespace, body["metadata"]["name"])
        await until(self._is_empty, f"{self.namespace} to be empty", SETTLE_SECONDS)

    async def _is_empty(self) -> bool:
        for kind in (*kinds.CHILD_KINDS, kinds.POD):
            if await self._ours(kind):
                return False
        return not await self.api.list(kinds.RESOURCE, self.namespace)

    async def _children(self) -> list[Object]:
        return [
            {**body, "kind": kind.kind}
            for kind in kinds.CHILD_KINDS
            for body in await self._ours(kind)
        ]

    async def _ours(self, kind: Kind) -> list[Object]:
        return await self.api.list(kind, self.namespace, kinds.selector_of(kind) or "")

    def _made_and_deleted(self) -> tuple[Counter[str], Counter[str]]:
        accepted = [one for one in self.proxy.writes if one.was_accepted and one.kind != "events"]
        return (
            Counter(one.kind for one in accepted if one.status == 201),
            Counter(one.kind for one in accepted if one.method == "DELETE"),
        )


def _differences(path: str, mine: Any, other: Any) -> Iterator[str]:
    """Yield where two values differ."""
    if isinstance(mine, dict) and isinstance(other, dict):
        for key in sorted(mine.keys() | other.keys()):
            yield from _differences(f"{path}/{key}", mine.get(key), other.get(key))
    elif mine != other:
        yield f"{path}: {mine} instead of {other}"


def _masked(value: Any, *, top: bool = False) -> Any:
    """Return a value without times, identities and names of pods."""
    if isinstance(value, dict):
        left_out = _BOOKKEEPING - ({"status"} if top else set())
        return {key: _masked(one, top=top) for key, one in value.items() if key not in left_out}
    if isinstance(value, list):
        return [_masked(one, top=top) for one in value]
    if isinstance(value, str):
        for pattern, word in _VARYING:
            value = pattern.sub(word, value)
    return value


def _revisions(children: list[Object]) -> dict[str, int]:
    revisions = {}
    for one in children:
        name, metadata = f"{one['kind']} {one['metadata']['name']}", one["metadata"]
        if "generation" in metadata:
            revisions[name] = metadata["generation"]
        rollouts = metadata.get("annotations", {}).get("deployment.kubernetes.io/revision")
        if rollouts is not None:
            revisions[f"rollouts of {name}"] = int(rollouts)
    return revisions


@asynccontextmanager
async def lane(
    api: Api, namespace: str, directory: Path, *, token: str | None = None, **settings: str
) -> AsyncIterator[Lane]:
    """Create a namespace and run an operator that watches it alone.

    Args:
        api: whose cluster.
        namespace: of the endpoints.
        directory: for log and kubeconfig.
        token: whose rights the operator has; the administrator's when left out.
        settings: of the operator.
    """
    try:
        await api.create_namespace(namespace)
    except Refused as error:
        if error.status != 409:
            raise
    own = {"NAMESPACES": namespace, **settings}
    async with FaultProxy(api.cluster, namespace, directory, token) as proxy:
        log = directory / f"{namespace}.log"
        async with OperatorUnderFaults(proxy, log, own) as operator:
            await operator.until_acting()
            made = Lane(api, namespace, proxy, operator)
            made.begin()
            yield made
    # Its pods hold GPUs that others need.
    await api.delete(NAMESPACE, "", namespace)
