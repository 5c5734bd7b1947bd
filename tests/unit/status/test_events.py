"""Events tell of transitions, and of nothing else."""

import pytest

from builders import NAME, NAMESPACE, UID, resource
from mistral_operator.api import (
    AutoscalingStatus,
    Change,
    Condition,
    ConditionType,
    Oom,
    OomEvent,
    Reason,
    Status,
    Step,
)
from mistral_operator.control.event_folding import folded
from mistral_operator.kube import names
from mistral_operator.status.events import memory_events, scaling_event, transition_events
from status_inputs import condition

AT = "2026-03-01T12:00:00.123456Z"
CREATING = condition()
STARTING = condition(reason=Reason.STARTING)
FAILED = condition(reason=Reason.SERVER_FAILED, message="EngineDied: out of memory")
READY = condition(status="True", reason=Reason.READY)
FITS = condition(ConditionType.MODEL_FITS, "True", Reason.FITS)
FROZEN = condition(ConditionType.SCALING_LIMITED, "True", Reason.SCALE_UP_FROZEN)
FREE = condition(ConditionType.SCALING_LIMITED, "False", Reason.WITHIN_LIMITS)
PENDING = condition(ConditionType.CACHE_BOUND, "False", Reason.CLAIM_PENDING)
BOUND = condition(ConditionType.CACHE_BOUND, "True", Reason.BOUND)
ONE_NODE = condition(ConditionType.CACHE_BOUND, "True", Reason.ONE_NODE)
HOPELESS = condition(reason=Reason.CLAIM_PENDING)
UNKNOWN = condition(ConditionType.MODEL_FITS, "Unknown", Reason.GPU_MEMORY_UNKNOWN)


def events_between(
    before: list[Condition], after: list[Condition], at: str = AT
) -> list[dict[str, str]]:
    """Return the events between two sets of conditions."""
    return transition_events(resource(), Status(conditions=before), Status(conditions=after), at)


@pytest.mark.parametrize(
    ("before", "after", "reasons"),
    [
        pytest.param([], [STARTING], ["Starting"], id="the first word"),
        pytest.param([], [CREATING], [], id="what follows from what the user just did"),
        pytest.param([], [UNKNOWN], [], id="not knowing is no news"),
        pytest.param([CREATING], [STARTING], ["Starting"], id="another reason"),
        pytest.param([FAILED], [READY], ["Ready"], id="another status"),
        pytest.param(
            [FAILED], [condition(reason=Reason.SERVER_FAILED, message="again")], [], id="only words"
        ),
        pytest.param([READY, FITS], [READY, FITS], [], id="nothing"),
        pytest.param([CREATING, UNKNOWN], [READY, FITS], ["Ready", "Fits"], id="two at once"),
        pytest.param([FITS], [UNKNOWN], ["GpuMemoryUnknown"], id="the only GPU node went"),
        pytest.param([], [FREE], [], id="scaling begins"),
        pytest.param([FREE], [FROZEN], ["ScaleUpFrozen"], id="loops keep it from scaling up"),
        pytest.param([FROZEN], [FREE], ["WithinLimits"], id="and no longer"),
        pytest.param([], [PENDING], [], id="every new claim waits for its volume"),
        pytest.param([], [BOUND], [], id="a claim that is as it should be"),
        pytest.param([PENDING], [BOUND], ["Bound"], id="a claim has its volume"),
        pytest.param(
            [PENDING], [HOPELESS, PENDING], ["ClaimPending"], id="a claim cannot be bound"
        ),
        pytest.param([BOUND], [ONE_NODE], ["OneNode"], id="several replicas with a claim for one"),
        pytest.param(
            [],
            [condition(ConditionType.AVAILABLE), condition(ConditionType.PROGRESSING)],
            [],
            id="what follows from others",
        ),
    ],
)
def test_only_transitions_are_reported(
    before: list[Condition], after: list[Condition], reasons: list[str]
) -> None:
    assert [event["reason"] for event in events_between(before, after)] == reasons


@pytest.mark.parametrize(
    ("after", "kind"),
    [
        (READY, "Normal"),
        (STARTING, "Normal"),
        (condition(reason=Reason.SCALING_UP), "Normal"),
        (condition(reason=Reason.SUSPENDED), "Normal"),
        (FAILED, "Warning"),
        (FROZEN, "Warning"),
        (ONE_NODE, "Warning"),
        (HOPELESS, "Warning"),
        (condition(ConditionType.MODEL_FITS, "False", Reason.DOES_NOT_FIT), "Warning"),
    ],
)
def test_a_warning_needs_attention(after: Condition, kind: str) -> None:
    assert [event["type"] for event in events_between([], [after])] == [kind]


def test_an_event_points_at_its_resource_and_says_what_happened() -> None:
    (event,) = transition_events(resource(), Status(), Status(conditions=[FAILED]), AT)

    assert event["message"] == "Ready=False: EngineDied: out of memory"
    assert event["eventTime"] == event["firstTimestamp"] == event["lastTimestamp"] == AT
    assert (event["count"], event["source"]) == (1, {"component": "mistral-small-operator"})
    assert event["metadata"]["namespace"] == event["involvedObject"]["namespace"] == NAMESPACE
    assert (event["involvedObject"]["name"], event["involvedObject"]["uid"]) == (NAME, UID)


def test_an_event_tells_of_another_number_of_replicas_and_why() -> None:
    scaling = AutoscalingStatus(
        replicas=4, reason="ScaledUp", message="from 2 to 4 replicas: 35 requests", time=AT
    )

    event = scaling_event(resource(), Status(), scaling, AT)

    assert (event["type"], event["reason"]) == ("Normal", "ScaledUp")
    assert event["message"] == "Autoscaling: from 2 to 4 replicas: 35 requests"


LATER = "2026-03-01T12:00:01.000000Z"


def test_what_happens_again_is_the_same_event_in_any_words() -> None:
    def name(after: Condition, at: str = AT, recorded: str | None = None) -> str:
        before = Status(last_update_time=recorded)
        (event,) = transition_events(resource(), before, Status(conditions=[after]), at)
        result: str = event["metadata"]["name"]
        return result

    again = condition(reason=Reason.SERVER_FAILED, message="EngineDied: the GPU fell off the bus")
    assert name(FAILED) == name(FAILED, LATER) == name(FAILED, recorded=AT) == name(again)
    assert name(FAILED) != name(READY)
    assert name(FAILED).startswith("small.")


def test_an_event_knows_the_status_that_its_transition_follows() -> None:
    def follows(recorded: str | None, at: str) -> str:
        before = Status(last_update_time=recorded)
        (event,) = transition_events(resource(), before, Status(conditions=[FAILED]), at)
        result: str = event["metadata"]["annotations"][names.ANNOTATION_FOLLOWS]
        return result

    assert follows(None, AT) == follows(None, LATER)
    assert follows(AT, LATER) == f"{AT}/1"


@pytest.mark.parametrize("character", ["x", "é", "\N{FIRE}"])
def test_a_note_is_never_longer_than_the_api_server_takes(character: str) -> None:
    (event,) = events_between(
        [], [condition(reason=Reason.SERVER_FAILED, message=character * 1024)]
    )

    # 1024 bytes, not characters, are refused.
    assert 900 < len(event["message"].encode()) < 1024
    assert event["message"].removeprefix("Ready=False: ").rstrip(".").strip(character) == ""


# --- Memory failures ------------------------------------------------------------------------------

SEEN = OomEvent(failure="KVCacheTooSmall", pod="small-1", evidence="8192 needed, 1344 fit")
TRYING = Step(
    setting="spec.engine.contextLength",
    before="8192",
    after="1344",
    reason="the KV cache holds 1344 tokens",
    failure="KVCacheTooSmall",
    time="2026-03-01T12:00:00Z",
)


@pytest.mark.parametrize(
    ("before", "after", "reasons"),
    [
        pytest.param(None, None, [], id="nothing"),
        pytest.param(None, Oom(events=[SEEN]), ["KVCacheTooSmall"], id="a memory failure"),
        pytest.param(
            Oom(events=[SEEN]),
            Oom(events=[SEEN], steps=[TRYING]),
            ["RemedyApplied"],
            id="a step against it",
        ),
        pytest.param(
            Oom(steps=[TRYING]),
            Oom(steps=[TRYING.model_copy(update={"outcome": "Helped"})]),
            ["RemedyHelped"],
            id="it helped",
        ),
        pytest.param(
            Oom(),
            Oom(recommendation=Change.model_validate(TRYING.model_dump())),
            ["RemedyRecommended"],
            id="advice",
        ),
        pytest.param(Oom(), Oom(stopped=True), ["CrashLoop"], id="giving up"),
    ],
)
def test_what_happens_with_memory_is_told_once(
    before: Oom | None, after: Oom | None, reasons: list[str]
) -> None:
    events = memory_events(resource(), Status(oom=before), after, AT)

    assert [one["reason"] for one in events] == reasons
    assert memory_events(resource(), Status(oom=after), after, AT) == []


OTHER = SEEN.model_copy(update={"pod": "small-2"})


def test_failures_of_one_class_are_one_event_that_counts_them() -> None:
    (event,) = memory_events(resource(), Status(), Oom(events=[SEEN, OTHER]), AT)

    assert event["count"] == 2
    assert event["message"] == "pod small-2: 8192 needed, 1344 fit"


def test_a_step_is_told_with_the_old_and_the_new_setting() -> None:
    (event,) = memory_events(resource(), Status(), Oom(steps=[TRYING]), AT)

    assert event["type"] == "Normal"
    assert event["message"] == (
        "spec.engine.contextLength 1344 instead of 8192: the KV cache holds 1344 tokens"
    )


def test_steps_of_different_settings_are_different_events() -> None:
    memory = TRYING.model_copy(update={"setting": "spec.sharedMemory"})
    events = memory_events(resource(), Status(), Oom(steps=[TRYING, memory]), AT)

    assert [one["reason"] for one in events] == ["RemedyApplied"] * 2
    assert len({one["metadata"]["name"] for one in events}) == 2


@pytest.mark.parametrize(
    ("posted", "repeated", "added"),
    [
        pytest.param([SEEN], [SEEN], 0, id="the same again"),
        pytest.param([SEEN, OTHER], [SEEN, OTHER], 0, id="both again"),
        pytest.param([SEEN], [SEEN, OTHER], 1, id="another one since"),
        pytest.param([SEEN, OTHER], [SEEN], 0, id="one less is known"),
    ],
)
def test_failures_that_are_posted_again_are_counted_once(
    posted: list[OomEvent], repeated: list[OomEvent], added: int
) -> None:
    """An operator was killed between the Event and the status."""
    (live,) = memory_events(resource(), Status(), Oom(events=posted), AT)
    live["metadata"]["resourceVersion"] = "1"
    (again,) = memory_events(resource(), Status(), Oom(events=repeated), LATER)

    counts = [one["value"] for one in folded(live, again) if one["path"] == "/count"]
    assert counts == ([len(posted) + added] if added else [])
