"""An edited status is judged like any input, and what is true comes back."""

from collections.abc import Callable

import pytest

from builders import Object, merged
from fake_api_server import Write
from mistral_operator.api import ConditionType
from mistral_operator.api.crd import resource_schema
from mistral_operator.kube import kinds
from operator_life import KEY, Life, lives
from operator_scenarios import AUTOSCALED, too_long_a_context
from status_edits import Edit, edits
from virtual_time import run

ENDPOINT: Object = merged(
    AUTOSCALED,
    {"engine": {"contextLength": 131_072}, "oom": {"policy": "Apply", "quietSeconds": 10}},
)
QUIET_SECONDS = 30.0
"""Longer than the quiet period of the endpoint, so that a remedy has helped."""
ANOTHER_WINDOW: Object = {
    "autoscaling": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 40}}}
}
"""An edit that rolls out no pods, so that only the status has to follow."""
RECORDS = {"totals", "events", "active", "recommendation", "steps", "exhausted", "streak"}
RECORDS |= {"configuration", "tried", "counted"}
"""What of `status.oom` is a memory of the past that nothing else shows."""

EDITS = [*edits(resource_schema()["properties"]["status"])]
FIRST_OF_LEAF = {*{one.path: one for one in reversed(EDITS)}.values()}
FIELDS = sorted({str(one.path[0]) for one in EDITS})


def edit_status(life: Life, change: Callable[[Object], Object]) -> None:
    """Edit the status as `kubectl edit --subresource=status` does."""
    life.objects.update(
        kinds.RESOURCE,
        KEY,
        lambda live: {**live, "status": change(live["status"])},
        status=True,
    )


async def remedied(life: Life) -> None:
    """Bring an endpoint to where it works with an override."""
    life.load = {"running": 5}
    life.workloads.start_result = too_long_a_context
    await life.start()
    life.create(ENDPOINT)
    await life.settle(80)
    assert life.status["oom"]["overrides"] == {"contextLength": 57_344}
    assert life.reason() == "Ready"


def truth(status: Object) -> Object:
    """Return what of a status does not depend on records of the past."""
    conditions = [
        {key: one for key, one in condition.items() if key not in {"lastTransitionTime"}}
        for condition in sorted(status["conditions"], key=lambda one: str(one["type"]))
        # That of memory quotes the records; others are of other controllers.
        if condition["type"] in {*ConditionType} - {ConditionType.OUT_OF_MEMORY}
    ]
    kept = {"url", "selector", "servedModel", "replicas", "readyReplicas", "updatedReplicas"}
    fields = {key: one for key, one in status.items() if key in kept | {"desiredReplicas"}}
    oom = {key: one for key, one in status.get("oom", {}).items() if key not in RECORDS}
    return {**fields, "conditions": conditions, "oom": oom}


async def healed(life: Life, edit: Edit) -> str:
    """Edit a status; return what does not come back, empty if all does.

    After the first edit of each leaf, the spec is edited as well.
    """
    reference, generation = truth(life.status), 1
    edit_status(life, edit.applied)
    try:
        await life.settle(QUIET_SECONDS)
        if edit in FIRST_OF_LEAF:
            life.edit(ANOTHER_WINDOW)
            generation = 2
            await life.settle(QUIET_SECONDS)
    except AssertionError as error:
        return f"{edit}: {str(error)[:300]}"
    result = truth(life.status)
    for one in (*reference["conditions"], *result["conditions"]):
        one.pop("observedGeneration", None)
    if life.status["observedGeneration"] != generation:
        return f"{edit}: frozen"
    return "" if result == reference else f"{edit}: {result} instead of {reference}"


@pytest.mark.parametrize("field", FIELDS)
def test_an_edit_of_any_leaf_is_healed_and_holds_nothing_up(field: str) -> None:
    async def play() -> list[str]:
        async with lives() as make:
            life = make()
            await remedied(life)
            objects, pods = life.objects.snapshot(), life.workloads.pods_made
            problems = []
            for edit in (one for one in EDITS if one.path[0] == field):
                life = make()
                life.load, life.workloads.start_result = {"running": 5}, too_long_a_context
                life.objects.restore(objects)
                life.workloads.pods_made = pods
                await life.start()
                problems.append(await healed(life, edit))
            return [*filter(None, problems)]

    assert run(play()) == []


FOREIGN: Object = {
    "type": "example.com/Reviewed",
    "status": "True",
    "reason": "Yes",
    "message": "",
    "lastTransitionTime": "2026-03-01T12:00:00Z",
}
WRONG = Edit(("oom", "overrides", "maxSequences"), 7)


def add_foreign(status: Object) -> Object:
    """Add a condition as another controller does."""
    return {**status, "conditions": [*status["conditions"], FOREIGN]}


def test_a_condition_of_another_controller_is_left_alone() -> None:
    async def play() -> None:
        async with lives() as make:
            life = make()
            await remedied(life)
            writes = len(life.api.writes)
            edit_status(life, add_foreign)
            await life.settle()
            assert len(life.api.writes) == writes

            edit_status(life, WRONG.applied)
            await life.settle()
            assert FOREIGN in life.status["conditions"]
            assert life.status["oom"]["overrides"] == {"contextLength": 57_344}

    run(play())


def test_a_condition_that_is_added_while_an_edited_status_is_replaced_is_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def play() -> None:
        async with lives() as make:
            life = make()
            await remedied(life)

            async def after(write: Write) -> None:
                if write.verb == "status":
                    life.api.after_write = None
                    edit_status(life, add_foreign)

            life.api.after_write = after
            edit_status(life, WRONG.applied)
            await life.settle()

            assert FOREIGN in life.status["conditions"]
            assert life.status["oom"]["overrides"] == {"contextLength": 57_344}

    run(play())
    assert [one for one in caplog.records if one.levelname == "WARNING"] == []
