"""No change is lost: whatever reaches the API server while the operator works is acted on."""

import pytest

from builders import Object
from fake_api_server import Write
from mistral_operator.kube import kinds
from operator_life import KEY, Life, play

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

        found = life.objects.find(kinds.RESOURCE, KEY)
        assert found is not None
        assert life.status["observedGeneration"] == found["metadata"]["generation"] == 3
        assert life.deployment()["spec"]["replicas"] == life.status["readyReplicas"] == 3

    play(scenario)


def test_a_child_that_somebody_deletes_during_a_reconciliation_comes_back() -> None:
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
