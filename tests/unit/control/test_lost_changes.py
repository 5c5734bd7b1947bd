"""No change is lost: whatever reaches the API server while the operator works is acted on."""

import asyncio
import random

import pytest

from builders import Object
from fake_api_server import Write
from mistral_operator.kube import kinds
from mistral_operator.kube.kinds import Kind
from operator_life import KEY, Life, play

SLEEPER: Object = {"autoscaling": {"minReplicas": 0, "maxReplicas": 2, "driver": "External"}}
BEFORE_RESYNC = 300.0


def before_next(life: Life, verb: str, change: Object) -> None:
    """Edit the resource right before the next write of some kind reaches the API server."""

    async def edit(write: Write) -> None:
        if write.verb == verb:
            life.api.before_write = None
            life.edit(change)

    life.api.before_write = edit


FIRST_EDITS: dict[str, tuple[str, Object]] = {
    "before a child is written": ("apply", {"replicas": 2}),
    "before the only write, that of the status": ("status", {"oom": {"quietSeconds": 700}}),
    "before an Event": ("post", {"suspend": True}),
}


@pytest.mark.parametrize("watch_seconds", [0.01, 2.0])
@pytest.mark.parametrize(("verb", "first"), FIRST_EDITS.values(), ids=FIRST_EDITS)
def test_an_edit_during_a_reconciliation_is_acted_on(
    verb: str, first: Object, watch_seconds: float
) -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()
        life.watch_seconds = watch_seconds
        before_next(life, verb, {"replicas": 3, "suspend": False})

        life.edit(first)
        await life.settle(BEFORE_RESYNC)

        body = life.objects.find(kinds.RESOURCE, KEY)
        assert body is not None
        assert life.status["observedGeneration"] == body["metadata"]["generation"] == 3
        assert life.deployment()["spec"]["replicas"] == life.status["readyReplicas"] == 3

    play(scenario)


@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.2, 0.3, 0.4, 0.45, 0.6, 1.0])
def test_an_endpoint_scales_to_zero_however_soon_that_follows_another_change(
    seconds: float,
) -> None:
    async def scenario(life: Life) -> None:
        life.activators = ("10.0.0.9",)
        await life.start()
        life.create(SLEEPER)
        await life.settle()

        life.edit({"networkPolicy": False})
        await asyncio.sleep(seconds)
        life.edit({"replicas": 0})
        await life.settle(BEFORE_RESYNC)

        assert life.deployment()["spec"]["replicas"] == 0
        assert (life.reason(), life.pods()) == ("Asleep", [])

    play(scenario)


def test_a_child_that_is_deleted_during_a_reconciliation_comes_back() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()

        async def delete(write: Write) -> None:
            if write.kind == "Deployment":
                life.api.before_write = None
                life.objects.delete(kinds.SERVICE, KEY)

        life.api.before_write = delete
        life.edit({"replicas": 2})
        await life.settle(BEFORE_RESYNC)

        assert life.objects.find(kinds.SERVICE, KEY) is not None
        assert life.reason() == "Ready"

    play(scenario)


def test_a_child_that_an_admission_webhook_changes_back_is_not_written_endlessly() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()
        writes = len(life.api.writes)

        def revert(kind: Kind, body: Object) -> Object:
            if kind != kinds.SERVICE:
                return body
            return {**body, "spec": {**body["spec"], "type": "NodePort"}}

        life.objects.admission = revert
        life.objects.delete(kinds.SERVICE, KEY)
        await asyncio.sleep(BEFORE_RESYNC)

        assert writes < len(life.api.writes) < writes + 30, "the same again would not help"

    play(scenario)


RACES = 250


def test_edits_that_race_with_status_writes_are_all_acted_on() -> None:
    """Each edit meets the status write that the one before led to, so a lost one ends the chain."""
    chance = random.Random(1)

    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()
        edits = iter(range(RACES))

        moments: list[str] = []

        async def before(write: Write) -> None:
            if write.verb == "status":
                moments.append(chance.choice(["before", "after"]))
                edit("before")

        async def after(write: Write) -> None:
            if write.verb == "status":
                edit("after")

        def edit(moment: str) -> None:
            if moment == moments[-1] and (number := next(edits, None)) is not None:
                life.watch_seconds = chance.random()
                oom = {"quietSeconds": 600 + number}
                life.edit({"oom": oom, "networkPolicy": number % 2 == 0})

        life.api.before_write, life.api.after_write = before, after
        life.edit({"replicas": 2})
        await life.settle(BEFORE_RESYNC, limit=RACES * BEFORE_RESYNC)

        resource = life.objects.find(kinds.RESOURCE, KEY)
        assert resource is not None
        assert resource["metadata"]["generation"] == RACES + 2
        assert life.status["observedGeneration"] == RACES + 2
        assert life.objects.find(kinds.NETWORK_POLICY, KEY) is None, "as the last edit says"

    play(scenario)
