"""Operations of users and pods on an endpoint, for tests that inject faults meanwhile."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from exited_servers import exited_status
from fault_api import Object, until
from fault_lane import NAME, SETTLE_SECONDS, Lane
from mistral_operator.kube import kinds, names
from mistral_server.contract import FailureClass, TerminationReport

Step = Callable[[Lane], Awaitable[None]]
Check = Callable[[Lane], Awaitable[bool]]


@dataclass(frozen=True)
class Operation:
    """One operation.

    Args:
        name: for test ids and tables.
        prepare: creates the state before the operation.
        act: runs the operation; it may wait for the operator in between.
        done: whether the operator has finished.
        scales_to_zero: whether an activator is needed.
    """

    name: str
    prepare: Step
    act: Step
    done: Check
    scales_to_zero: bool = False


TOO_LONG = {"engine": {"contextLength": 131072}}
APPLY = {**TOO_LONG, "oom": {"policy": "Apply", "quietSeconds": 10}}
KV_TOO_SMALL = TerminationReport(
    failure=FailureClass.KV_CACHE_TOO_SMALL,
    stage="profiling",
    phase="kv-cache",
    message="The engine exited.",
    evidence="the estimated maximum model length is 57344",
    suggest={"contextLength": 57344},
)
CUDA_OOM_LOAD = KV_TOO_SMALL.model_copy(
    update={"failure": FailureClass.CUDA_OOM_LOAD, "suggest": {}}
)


SLEEPER = {"autoscaling": {"minReplicas": 0, "maxReplicas": 2, "driver": "External"}}


async def _nothing(lane: Lane) -> None:
    """Begin with an empty namespace."""


async def _endpoint(lane: Lane, spec: Object | None = None) -> None:
    await lane.create(spec)
    await lane.settle(lane.is_ready)


async def _create(lane: Lane) -> None:
    await lane.create()


async def _edit(lane: Lane) -> None:
    await lane.edit({"engine": {"contextLength": 16384}, "networkPolicy": False})


async def _scale(lane: Lane) -> None:
    await lane.scale(2)


async def _suspend_and_resume(lane: Lane) -> None:
    await lane.edit({"suspend": True})
    await until(lambda: _has_reason(lane, "Suspended"), "suspended", SETTLE_SECONDS)
    await lane.edit({"suspend": False})


async def _delete_and_recreate(lane: Lane) -> None:
    await lane.api.delete(kinds.RESOURCE, lane.namespace, NAME)
    await lane.create()


async def _drift(lane: Lane) -> None:
    await lane.api.delete(kinds.SERVICE, lane.namespace, NAME)
    await lane.api.merge(kinds.DEPLOYMENT, lane.namespace, NAME, {"spec": {"replicas": 2}})
    labels = {"metadata": {"annotations": {"inference.mistral-small.io/applied": "edited"}}}
    await lane.api.merge(kinds.NETWORK_POLICY, lane.namespace, NAME, labels)


async def let_end(lane: Lane, report: TerminationReport = KV_TOO_SMALL, number: int = 1) -> None:
    """Write an exit of the server into the status of the only pod."""

    async def one_pod() -> bool:
        return len(await lane.pods()) == 1

    await until(one_pod, "one pod", SETTLE_SECONDS)
    name = (await lane.pods())[0]["metadata"]["name"]
    lane.memory["ended"] = name
    status = exited_status(name, number, report)
    path = f"{kinds.POD.path(lane.namespace, name)}/status"
    await lane.api.request("PATCH", path, status, "application/strategic-merge-patch+json")


async def _oom(lane: Lane) -> Object:
    oom: Object = (await lane.get()).get("status", {}).get("oom", {})
    return oom


async def _has_reason(lane: Lane, reason: str, kind: str = "Ready") -> bool:
    return (await lane.condition(kind)).get("reason") == reason


async def _another_pod(lane: Lane) -> bool:
    pods = [one["metadata"]["name"] for one in await lane.pods()]
    return len(pods) == 1 and pods != [lane.memory["ended"]]


async def _end_twice(lane: Lane) -> None:
    await let_end(lane)
    await until(lambda: _another_pod(lane), "a pod with the remedy", SETTLE_SECONDS)
    await let_end(lane)


async def _end_thrice(lane: Lane) -> None:
    for number in range(1, 4):
        await let_end(lane, CUDA_OOM_LOAD, number)

        async def counted(number: int = number) -> bool:
            totals = (await _oom(lane)).get("totals", [])
            return sum(int(one["count"]) for one in totals) == number

        await until(counted, f"{number} counted", SETTLE_SECONDS)


async def _is_remedied(lane: Lane, steps: int) -> bool:
    oom = await _oom(lane)
    outcomes = [one["outcome"] for one in oom.get("steps", [])]
    helped = len(outcomes) == steps and outcomes[-1] == "Helped"
    # The decision is recorded first, and the conditions follow.
    return helped and await _has_reason(lane, "Remedied", "OutOfMemory") and await lane.is_ready()


async def _is_stopped(lane: Lane) -> bool:
    replicas = (await lane.get()).get("status", {}).get("replicas", 0)
    return await _has_reason(lane, "CrashLoop") and not replicas and not await lane.pods()


async def _drift_is_repaired(lane: Lane) -> bool:
    deployment = await lane.get(kinds.DEPLOYMENT)
    policy = await lane.get(kinds.NETWORK_POLICY)
    annotations = policy["metadata"]["annotations"]
    return (
        await lane.get(kinds.SERVICE) != {}
        and deployment["spec"]["replicas"] == 1
        and annotations["inference.mistral-small.io/applied"] != "edited"
        and await lane.is_ready()
    )


async def _ready(lane: Lane) -> bool:
    return await lane.is_ready()


async def _activators(lane: Lane) -> list[Object]:
    """Return the addresses of activators behind the Service."""
    result = await lane.get(kinds.ENDPOINT_SLICE, names.activator_slice(NAME, ipv6=False))
    return result.get("endpoints") or []


async def _serves(lane: Lane) -> bool:
    return await lane.is_ready() and not await _activators(lane)


async def _is_at_zero(lane: Lane) -> bool:
    replicas = (await lane.get(kinds.DEPLOYMENT)).get("spec", {}).get("replicas")
    reported = await _has_reason(lane, "Asleep")
    return reported and replicas == 0 and bool(await _activators(lane)) and not await lane.pods()


async def _sleeper(lane: Lane) -> None:
    await lane.create(SLEEPER)
    await lane.settle(lambda: _serves(lane))


async def _scaled_to_zero(lane: Lane) -> None:
    await _sleeper(lane)
    await lane.scale(0)
    await lane.settle(lambda: _is_at_zero(lane))


async def _scale_to_zero(lane: Lane) -> None:
    await lane.scale(0)


async def _scale_from_zero(lane: Lane) -> None:
    await lane.scale(1)


_VOLUME = kinds.Kind("v1", "PersistentVolume", "persistentvolumes", namespaced=False)


def _prefetch(lane: Lane) -> Object:
    return {"cache": {"storageClassName": lane.namespace, "prefetch": "BeforePods"}}


async def _volume(lane: Lane) -> None:
    """Create the volume that the claim is bound to, in place of the one of the last time."""
    name = f"{lane.namespace}-cache"

    async def is_gone() -> bool:
        return await lane.api.get(_VOLUME, "", name) is None

    await lane.api.delete(_VOLUME, "", name)
    await until(is_gone, "the volume to be deleted", SETTLE_SECONDS)
    spec = {
        "capacity": {"storage": "100Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": lane.namespace,
        "hostPath": {"path": "/nonexistent"},
    }
    body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}}
    await lane.api.create(_VOLUME, "", {**body, "spec": spec})


async def _create_prefetched(lane: Lane) -> None:
    await lane.create(_prefetch(lane))


async def _prefetched(lane: Lane) -> None:
    await _volume(lane)
    await _create_prefetched(lane)
    await lane.settle(lambda: _ready_without_job(lane))


async def _edit_model(lane: Lane) -> None:
    await lane.edit({"model": {"revision": "next"}})


async def _ready_without_job(lane: Lane) -> bool:
    job = await lane.get(kinds.JOB, names.prefetch(NAME))
    return not job and await lane.is_ready()


OPERATIONS = (
    Operation("create", _nothing, _create, _ready),
    Operation("edit-rollout", _endpoint, _edit, _ready),
    Operation("scale", _endpoint, _scale, _ready),
    Operation("suspend-resume", _endpoint, _suspend_and_resume, _ready),
    Operation("delete-recreate", _endpoint, _delete_and_recreate, _ready),
    Operation("drift", _endpoint, _drift, _drift_is_repaired),
    Operation(
        "memory",
        lambda lane: _endpoint(lane, APPLY),
        let_end,
        lambda lane: _is_remedied(lane, 1),
    ),
    Operation(
        "memory-twice",
        lambda lane: _endpoint(lane, APPLY),
        _end_twice,
        lambda lane: _is_remedied(lane, 2),
    ),
    Operation(
        "memory-stop",
        lambda lane: _endpoint(lane, {"startupSeconds": 900}),
        _end_thrice,
        _is_stopped,
    ),
    Operation("create-prefetched", _volume, _create_prefetched, _ready_without_job),
    Operation("edit-prefetched", _prefetched, _edit_model, _ready_without_job),
    Operation("sleep", _sleeper, _scale_to_zero, _is_at_zero, scales_to_zero=True),
    Operation("wake", _scaled_to_zero, _scale_from_zero, _serves, scales_to_zero=True),
)
