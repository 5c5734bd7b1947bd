"""A status is read field by field; what cannot be understood is dropped."""

from typing import Any

import pytest

from mistral_operator.api import Status, parse_status

TIME = "2026-03-01T12:00:00Z"
READY = {"type": "Ready", "status": "True", "reason": "Ready", "lastTransitionTime": TIME}
STEP = {"setting": "s", "before": "2", "after": "1", "reason": "why", "class": "HostOom"}

DROPPED: dict[str, tuple[Any, Any]] = {
    "no status": ("x", {}),
    "a wrong type": ({"replicas": "many", "url": "u"}, {"url": "u"}),
    "a condition without a status": (
        {"conditions": [READY, {"type": "Available"}]},
        {"conditions": [READY]},
    ),
    "a date": ({"oom": {"steps": [{**STEP, "time": "2026-03-01"}]}}, {"oom": {"steps": [STEP]}}),
    "a month of its own": (
        {"oom": {"steps": [{**STEP, "time": "2026-13-01T12:00:00Z"}]}},
        {"oom": {"steps": [STEP]}},
    ),
    "an unknown class": (
        {"oom": {"steps": [{**STEP, "class": "Bored"}, STEP], "active": "Bored"}},
        {"oom": {"steps": [STEP]}},
    ),
    "overrides out of bounds": (
        {"oom": {"overrides": {"contextLength": -1, "sharedMemory": "x", "maxSequences": 7}}},
        {"oom": {"overrides": {"maxSequences": 7}}},
    ),
    "something else than an object": ({"oom": 3, "autoscaling": []}, {}),
}


@pytest.mark.parametrize(("raw", "kept"), DROPPED.values(), ids=DROPPED)
def test_what_cannot_be_understood_is_dropped(raw: Any, kept: Any) -> None:
    before = repr(raw)

    assert parse_status(raw) == (Status.model_validate(kept), False)
    assert repr(raw) == before


@pytest.mark.parametrize("raw", [None, {}, {"conditions": [READY]}, {"oom": {"steps": [STEP]}}])
def test_what_can_be_understood_is_intact(raw: Any) -> None:
    assert parse_status(raw) == (Status.model_validate(raw or {}), True)


def test_conditions_of_others_are_left_out() -> None:
    raw = {"conditions": [READY, {**READY, "type": "example.com/Reviewed"}]}

    assert parse_status(raw) == (Status.model_validate({"conditions": [READY]}), True)
