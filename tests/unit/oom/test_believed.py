"""Records of memory failures that the operator cannot have written are not acted on."""

from typing import Any

import pytest

from memory_failures import endpoint
from mistral_operator.api import Oom, Overrides
from mistral_operator.oom import believed
from mistral_server.contract import FailureClass

TRIED = endpoint({"engine": {"contextLength": 131_072}})
TRIED.fail(FailureClass.KV_CACHE_TOO_SMALL, fits=57_344)
assert TRIED.oom is not None
TRUE: Oom = TRIED.oom
SPEC = TRIED.resource.spec

FORGED: dict[str, dict[str, Any]] = {
    "another value": {"overrides": Overrides(context_length=65_536)},
    "one more": {"overrides": Overrides(context_length=57_344, max_sequences=7)},
    "none": {"overrides": None},
    "one that says what the spec says": {"overrides": Overrides(context_length=131_072)},
}


def test_what_the_operator_decided_is_believed() -> None:
    assert TRUE.overrides == Overrides(context_length=57_344)
    assert believed(TRUE, SPEC) == TRUE


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_overrides_follow_from_the_steps(change: dict[str, Any]) -> None:
    assert believed(TRUE.model_copy(update=change), SPEC) == TRUE


@pytest.mark.parametrize(
    "change",
    [
        *({"after": value} for value in ("57344 tokens", "-1", "1000000", "")),
        {"setting": ""},
        {"setting": "spec.replicas"},
    ],
)
def test_a_step_that_cannot_have_been_taken_is_dropped_and_can_be_taken(
    change: dict[str, str],
) -> None:
    (step,) = TRUE.steps
    forged = TRUE.model_copy(
        update={"steps": [step.model_copy(update=change)], "exhausted": True, "tried": ["a", "b"]}
    )
    untried: dict[str, Any] = {"steps": [], "overrides": None, "tried": [], "exhausted": False}

    assert believed(forged, SPEC) == TRUE.model_copy(update=untried)


def test_settings_that_no_step_led_to_were_not_tried() -> None:
    forged = TRUE.model_copy(update={"tried": [*TRUE.tried, "12345678"]})

    assert believed(forged, SPEC) == TRUE.model_copy(update={"tried": []})


@pytest.mark.parametrize(
    ("active", "streak", "stopped"),
    [
        (None, 0, False),
        (FailureClass.CUDA_OOM_LOAD, 2, False),
        (FailureClass.HOST_OOM, 3, False),
        (FailureClass.CUDA_OOM_LOAD, 3, True),
    ],
)
def test_an_endpoint_is_stopped_only_after_enough_failures(
    active: FailureClass | None, streak: int, stopped: bool
) -> None:
    records = {"active": active and active.value, "streak": streak, "stopped": True}

    assert believed(TRUE.model_copy(update=records), SPEC).stopped is stopped
