"""A resource that the watch does not tell the deletion of is forgotten, and gets no children."""

import asyncio
from collections.abc import Callable

import pytest

from builders import Object
from fake_api_server import FakeApiServer, Write
from fake_objects import WatchEvent
from mistral_operator.kube import kinds, names
from mistral_operator.kube.kinds import Kind
from mistral_operator.watch.sweep import Sweep
from operator_life import KEY, SELECTORS, Life, play

BEFORE_RESYNC = 400.0
EVERYTHING: Object = {"cache": {"size": "100Gi"}}


def reads(life: Life, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the resources that are read from now on."""
    names: list[str] = []
    read = FakeApiServer._read

    def counted(api: FakeApiServer, address: object, query: dict[str, str]) -> Object:
        if getattr(address, "kind", None) == kinds.RESOURCE and getattr(address, "name", ""):
            names.append(str(getattr(address, "name", "")))
        return read(api, address, query)  # type: ignore[arg-type]  # an Address

    monkeypatch.setattr(FakeApiServer, "_read", counted)
    return names


def of_kind(kind: Kind) -> Callable[[WatchEvent], bool]:
    """Return the deletions of a kind, as events for a watch to lose."""
    return lambda event: event.kind == kind and event.action == "DELETED"


async def ready(life: Life, spec: Object | None = None) -> None:
    """Bring an endpoint to where it answers."""
    await life.start()
    life.create(spec)
    await life.settle()
    assert life.reason() == "Ready"


def applied(life: Life, since: int) -> list[Write]:
    """Return the writes to children since a number of them."""
    return [one for one in life.api.writes[since:] if one.verb in {"apply", "patch"}]


def left(life: Life) -> list[str]:
    """Return what exists besides the node, Events and the operator's own objects."""
    kept = {kinds.NODE, kinds.EVENT, kinds.CONFIG_MAP}
    return [f"{kind.kind} {key.name}" for kind, key in life.objects.stored if kind not in kept]


@pytest.mark.parametrize("spec", [{}, EVERYTHING], ids=["default", "with a cache"])
def test_a_lost_deletion_creates_nothing(spec: Object) -> None:
    async def scenario(life: Life) -> None:
        await ready(life, spec)
        life.is_lost = of_kind(kinds.RESOURCE)
        writes = len(life.api.writes)

        life.delete()
        await asyncio.sleep(BEFORE_RESYNC)

        assert applied(life, writes) == []
        assert left(life) == []
        assert life.operator is not None
        assert life.operator.fleet.statuses == {}

    play(scenario)


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.12, 0.3])
def test_a_deletion_between_list_and_watch_creates_nothing(seconds: float) -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        life.kill()
        life.is_lost = of_kind(kinds.RESOURCE)
        pods = life.workloads.pods_made

        async def delete() -> None:
            await asyncio.sleep(seconds)
            life.delete()

        deletion = asyncio.create_task(delete())
        await life.start()
        await asyncio.sleep(BEFORE_RESYNC)
        await deletion

        assert left(life) == []
        assert life.workloads.pods_made == pods

    play(scenario)


def test_a_resource_that_is_gone_when_its_status_is_written_is_forgotten_at_once() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        life.is_lost = of_kind(kinds.RESOURCE)

        async def delete(write: Write) -> None:
            if write.verb == "status":
                life.api.before_write = None
                life.delete()

        life.api.before_write = delete
        life.edit({"suspend": True})
        await asyncio.sleep(BEFORE_RESYNC)

        assert left(life) == []
        assert [one.verb for one in life.api.writes].count("status") <= 4
        assert life.operator is not None
        assert life.operator.fleet.statuses == {}

    play(scenario)


def test_a_resource_that_is_created_anew_under_its_name_gets_children_of_its_own() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        old = life.objects.find(kinds.RESOURCE, KEY)
        assert old is not None
        life.is_lost = lambda event: event.kind == kinds.RESOURCE

        life.delete()
        life.create({"replicas": 2})
        await life.settle(BEFORE_RESYNC)

        new = life.objects.find(kinds.RESOURCE, KEY)
        assert new is not None
        assert new["metadata"]["uid"] != old["metadata"]["uid"]
        owners = {one["uid"] for one in life.deployment()["metadata"]["ownerReferences"]}
        assert owners == {new["metadata"]["uid"]}
        assert (life.reason(), len(life.pods())) == ("Ready", 2)

    play(scenario)


@pytest.mark.parametrize("kind", [kinds.SERVICE, kinds.NETWORK_POLICY, kinds.DEPLOYMENT])
def test_a_child_that_is_deleted_comes_back_after_one_look_at_its_resource(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        looks = reads(life, monkeypatch)

        life.objects.delete(kind, KEY)
        await life.settle()

        assert life.objects.find(kind, KEY) is not None
        assert (life.reason(), len(looks)) == ("Ready", 1)

    play(scenario)


def test_a_healthy_resource_is_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(life: Life) -> None:
        looks = reads(life, monkeypatch)
        await ready(life, EVERYTHING)
        for change in ({"networkPolicy": False}, {"networkPolicy": True}, {"replicas": 3}):
            life.edit(change)
            await life.settle()
        life.kill()
        await life.settle(1300)

        assert looks == []

    play(scenario)


def replace_before(life: Life, verb: str, kind: str) -> None:
    """Delete the resource and create it anew right before the next write of some kind."""

    async def replace(write: Write) -> None:
        if (write.verb, write.kind) == (verb, kind):
            life.api.before_write = None
            life.delete()
            life.create()

    life.api.before_write = replace


def statuses(life: Life, uid: str) -> list[Object]:
    """Return the statuses that a resource had."""
    events = (one for one in life.objects.feed if one.kind == kinds.RESOURCE)
    return [
        one.body["status"]
        for one in events
        if one.body["metadata"]["uid"] == uid and "status" in one.body
    ]


def fill_in(status: Object) -> Object:
    """Return a status with a field that no report has, which only a replacement removes."""
    return {**status, "autoscaling": {"replicas": 7, "reason": "Started", "message": "edited"}}


@pytest.mark.parametrize("lost", [False, True], ids=["watched", "lost by the watch"])
@pytest.mark.parametrize("verb", ["status", "patch"])
def test_a_resource_that_is_created_anew_never_has_a_status_of_its_predecessor(
    verb: str, lost: bool
) -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        life.is_lost = lambda event: (
            lost and event.kind == kinds.RESOURCE and event.action != "MODIFIED"
        )
        replace_before(life, verb, names.KIND)
        if verb == "patch":
            life.objects.update(
                *(kinds.RESOURCE, KEY),
                lambda live: {**live, "status": fill_in(live["status"])},
                status=True,
            )
        else:
            life.edit({"suspend": True})
        await life.settle(BEFORE_RESYNC)

        successor = life.objects.find(kinds.RESOURCE, KEY)
        assert successor is not None
        assert life.api.before_write is None, "it was replaced"
        had = statuses(life, successor["metadata"]["uid"])
        assert {one["observedGeneration"] for one in had} == {1}
        assert not any("autoscaling" in one for one in had)
        assert had[0]["conditions"][0]["reason"] != "Suspended"
        assert life.reason() == "Ready"

    play(scenario)


@pytest.mark.parametrize("late", [3.0, 8.0, 12.0])
def test_a_late_watch_brings_no_deleted_resource_back(late: float) -> None:
    async def scenario(life: Life) -> None:
        life.watch_seconds = late
        await life.start()
        operator = life.operator
        assert operator is not None
        parts = life.cluster, operator._store, operator._watcher, operator._resync
        operator._tasks.append(asyncio.create_task(Sweep(*parts, SELECTORS, ()).forever()))
        await asyncio.sleep(30.5)
        life.create()
        await asyncio.sleep(4)
        life.delete()
        while operator._store.resources.get(KEY) is not None:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.1)
        noticed = len(life.api.writes)
        await asyncio.sleep(60)

        assert [str(one) for one in life.api.writes[noticed:] if one.verb == "apply"] == []

    play(scenario)
