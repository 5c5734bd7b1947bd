"""What happens to a resource between its creation and its deletion, as scenarios to play."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from builders import NAMESPACE, Object, merged
from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Key
from mistral_server.contract import FailureClass, TerminationReport
from operator_life import KEY, Life

Act = Callable[[Life], Awaitable[None]]

FITS = 57_344
"""The longest context that fits, where a scenario is about memory."""
BUSY = {"running": 20, "waiting": 5}
MEMORY: Object = {"oom": {"policy": "Apply", "quietSeconds": 10}}
AUTOSCALED: Object = {
    "autoscaling": {
        "maxReplicas": 8,
        "targetInFlight": 10,
        "behavior": {
            "scaleUp": {"stabilizationWindowSeconds": 0},
            "scaleDown": {"stabilizationWindowSeconds": 30},
        },
    }
}
SLEEPER: Object = merged(AUTOSCALED, {"autoscaling": {"minReplicas": 0}})
ACTIVATORS = ("10.0.0.8", "10.0.0.9")


@dataclass(frozen=True)
class Scenario:
    """Something that happens to a resource in a cluster at rest."""

    act: Act
    """What happens; it ends when the operator has dealt with it."""
    reason: str
    """Reason of the condition Ready at the end; empty if the resource is gone."""
    spec: Object | None = None
    """The resource that exists before; None if there is none."""
    load: Mapping[str, int] = field(default_factory=dict)
    """What the pods report at the beginning."""
    activators: tuple[str, ...] = ()


def report_of(failure: FailureClass, suggest: dict[str, int] | None = None) -> TerminationReport:
    """Return the termination report of a server that failed to start."""
    return TerminationReport(
        failure=failure,
        stage="profiling",
        message="It failed.",
        evidence="why",
        suggest=suggest or {},
    )


TOO_SMALL = report_of(FailureClass.KV_CACHE_TOO_SMALL, {"engine.context_length": FITS})


def edits(*changes: Object) -> Act:
    """Return the edits of a resource, each when the one before was dealt with."""

    async def act(life: Life) -> None:
        for one in changes:
            life.edit(one)
            await life.settle()

    return act


async def create(life: Life) -> None:
    """Create the resource."""
    life.create({})
    await life.settle()


async def edit_twice(life: Life) -> None:
    """Edit a resource, and once more while the first edit is dealt with."""
    life.edit({"networkPolicy": False})
    await asyncio.sleep(0.2)
    life.edit({"replicas": 2})
    await life.settle()


async def follow_load(life: Life) -> None:
    """Let more requests arrive, and then none."""
    life.load = BUSY
    await life.settle(80)
    life.load = {}
    await life.settle(80)


def failing(fails: Callable[[Object], TerminationReport | None]) -> Act:
    """Return the failure of a server whose every start depends on its settings."""

    async def act(life: Life) -> None:
        life.workloads.start_result = fails
        for pod in life.pods():
            report = fails({})
            assert report is not None
            life.workloads.fail(Key(NAMESPACE, pod["metadata"]["name"]), report)
        await life.settle(80)

    return act


def too_long_a_context(settings: Object) -> TerminationReport | None:
    """Fail until the context fits."""
    length = settings.get("engine", {}).get("context_length", 131_072)
    return TOO_SMALL if length > FITS else None


def until_second_remedy(settings: Object) -> TerminationReport | None:
    """Fail in spite of the first remedy."""
    fits = settings.get("engine", {}).get("images_per_prompt", 10) <= 4
    return None if fits else report_of(FailureClass.CUDA_OOM_WARMUP)


async def become_idle(life: Life) -> None:
    """Let an endpoint be idle."""
    life.load = {}
    await life.settle(80)


async def start_from_zero(life: Life) -> None:
    """Let requests wait for an endpoint until it is ready."""
    life.held = 3
    await life.settle(80)
    life.held, life.load = 0, {"running": 3}
    await life.settle(80)


UNTIL_RELEASED = 60.0
"""Quiet seconds after which an endpoint has given its port of the activators back."""


async def edit_held(life: Life) -> None:
    """Replace the only pod while the activators are in its place."""
    life.edit({"startupSeconds": 900})
    await life.settle(UNTIL_RELEASED)


async def drain_held(life: Life) -> None:
    """Evict the only pod."""
    life.evict()
    await life.settle(UNTIL_RELEASED)


async def crash_held(life: Life) -> None:
    """Let the server of the only pod fail once."""
    for pod in life.pods():
        key = Key(NAMESPACE, pod["metadata"]["name"])
        life.workloads.fail(key, report_of(FailureClass.ENGINE_DIED))
    await life.settle(UNTIL_RELEASED)


PREPULL: Object = {"rollout": {"prepull": "BeforeRollout", "prepullSeconds": 600}}
UNTIL_PULLED = 700.0
"""Quiet seconds after which an edit waits for no image any more."""


def pulling(failure: str = "", *, slow: bool = False) -> Act:
    """Return an edit of the image, which nodes pull, fail to pull, or do not pull in time."""

    async def act(life: Life) -> None:
        life.daemon_sets.failure = lambda _node, _image: failure
        life.daemon_sets.pull_seconds = 100_000.0 if slow else 60.0
        life.edit({"image": "registry.example.com/server:2"})
        await life.settle(UNTIL_PULLED)

    return act


async def correct_image(life: Life) -> None:
    """Correct an image that no node can pull."""
    await pulling("manifest unknown")(life)
    life.edit({"image": None})
    await life.settle()


PREFETCH: Object = {"cache": {"prefetch": "BeforePods"}}


def bind_claim(life: Life) -> None:
    """Give the claim of the cache a volume, as a provisioner does once a pod mounts it."""
    bound = {"spec": {"volumeName": "pv"}, "status": {"phase": "Bound"}}
    key = Key(NAMESPACE, names.cache_claim(KEY.name))
    for status in (False, True):
        life.objects.update(kinds.CLAIM, key, lambda live: merged(live, bound), status=status)


async def create_prefetched(life: Life) -> None:
    """Create a resource whose model is fetched before its pod starts."""
    life.create(PREFETCH)
    await life.settle()


async def edit_prefetched(life: Life) -> None:
    """Edit the model, and once more while it is fetched."""
    life.workloads.jobs.hangs = True
    life.edit({"model": {"revision": "next"}})
    await life.settle()
    life.workloads.jobs.hangs = False
    life.edit({"model": {"revision": "last"}})
    await life.settle()


async def suspend_prefetching(life: Life) -> None:
    """Suspend an endpoint while its next model is fetched, and resume it."""
    life.workloads.jobs.hangs = True
    life.edit({"model": {"revision": "next"}})
    await life.settle()
    life.edit({"suspend": True})
    await life.settle()
    life.workloads.jobs.hangs = False
    life.edit({"suspend": False})
    await life.settle()


async def delete(life: Life) -> None:
    """Delete a resource while an edit is dealt with."""
    life.edit({"replicas": 2})
    await asyncio.sleep(0.3)
    life.delete()
    await life.settle()


async def delete_and_recreate(life: Life) -> None:
    """Delete a resource, and create it anew before its children are gone."""
    life.delete()
    life.create({"replicas": 2})
    await life.settle()


async def drift(life: Life) -> None:
    """Edit and delete children, as another owner may."""
    life.objects.update(kinds.DEPLOYMENT, KEY, lambda live: merged(live, {"spec": {"replicas": 4}}))
    await life.settle()
    life.objects.update(
        kinds.SERVICE,
        KEY,
        lambda live: merged(live, {"spec": {"ports": [{"name": "http", "port": 9000}]}}),
    )
    life.objects.delete(kinds.NETWORK_POLICY, KEY)
    await life.settle()


SCENARIOS: dict[str, Scenario] = {
    "create": Scenario(create, "Ready"),
    "roll out": Scenario(edits({"startupSeconds": 900}), "Ready", {"replicas": 2}),
    "roll out with a surge": Scenario(
        edits({"startupSeconds": 900}), "Ready", {"rollout": {"maxSurge": 1}}
    ),
    "roll out later": Scenario(
        edits({"startupSeconds": 900, "rollout": {"paused": True}}, {"rollout": {"paused": False}}),
        "Ready",
        {},
    ),
    "scale by edit": Scenario(edits({"replicas": 3}, {"replicas": 1}), "Ready", {}),
    "edit twice": Scenario(edit_twice, "Ready", {}),
    "scale by load": Scenario(follow_load, "Ready", AUTOSCALED),
    "autoscale under load": Scenario(edits(AUTOSCALED), "Ready", {}, load=BUSY),
    "remedy": Scenario(
        failing(too_long_a_context), "Ready", {**MEMORY, "engine": {"contextLength": 131_072}}
    ),
    "remedy that does not help": Scenario(failing(until_second_remedy), "Ready", MEMORY),
    "stop": Scenario(
        failing(lambda _: report_of(FailureClass.CUDA_OOM_LOAD)), "CrashLoop", {"replicas": 1}
    ),
    "scale to zero by edit": Scenario(
        edits({"replicas": 0}),
        "Asleep",
        merged(SLEEPER, {"autoscaling": {"driver": "External"}}),
        activators=ACTIVATORS,
    ),
    "scale to zero": Scenario(
        become_idle, "Asleep", SLEEPER, load={"running": 1}, activators=ACTIVATORS
    ),
    "scale from zero": Scenario(
        start_from_zero, "Ready", {**SLEEPER, "replicas": 0}, activators=ACTIVATORS
    ),
    "edit what is held": Scenario(edit_held, "Ready", {}, activators=ACTIVATORS),
    "edit what is held and scales to zero": Scenario(
        edit_held, "Ready", SLEEPER, load={"running": 1}, activators=ACTIVATORS
    ),
    "drain what is held": Scenario(drain_held, "Ready", {}, activators=ACTIVATORS),
    "crash of what is held": Scenario(crash_held, "Ready", {}, activators=ACTIVATORS),
    "pull, then roll out": Scenario(pulling(), "Ready", PREPULL),
    "pull, then hold": Scenario(pulling(), "Ready", PREPULL, activators=ACTIVATORS),
    "pull no image": Scenario(pulling("manifest unknown"), "ImageUnavailable", PREPULL),
    "pull no image, then correct it": Scenario(correct_image, "Ready", PREPULL),
    "pull too slowly": Scenario(pulling(slow=True), "Ready", PREPULL),
    "suspend and resume": Scenario(edits({"suspend": True}, {"suspend": False}), "Ready", {}),
    "suspend what is autoscaled": Scenario(
        edits({"suspend": True}, {"suspend": False}), "Ready", AUTOSCALED
    ),
    "create with a prefetch": Scenario(create_prefetched, "Ready"),
    "edit with a prefetch": Scenario(edit_prefetched, "Ready", PREFETCH),
    "suspend a prefetch": Scenario(suspend_prefetching, "Ready", PREFETCH),
    "turn a prefetch on and off": Scenario(
        edits(PREFETCH, {"cache": {"prefetch": "Never"}}), "Ready", {"cache": {}}
    ),
    "delete": Scenario(delete, "", {}),
    "delete and recreate": Scenario(delete_and_recreate, "Ready", {}),
    "drift": Scenario(drift, "Ready", {}),
}
