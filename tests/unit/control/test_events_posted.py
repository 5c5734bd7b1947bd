"""Each Event is counted at least once and at most once, whatever the API server answers."""

import asyncio
import logging

import pytest

from builders import Object
from fake_api_server import Write
from fake_objects import ApiError
from mistral_operator.kube import kinds
from mistral_operator.kube.objects import key_of
from operator_life import Life, play
from operator_scenarios import failing, too_long_a_context

REMEDIED: Object = {
    "engine": {"contextLength": 131_072},
    "oom": {"policy": "Apply", "quietSeconds": 10},
}
NAMED = ["KVCacheTooSmall", "RemedyApplied", "RemedyHelped"]
"""The Events of a remedy that docs/memory.md names."""


def reject_events(life: Life, error: ApiError, times: int = 10_000) -> list[Write]:
    """Let the API server reject Events; return those that it rejected."""
    rejected: list[Write] = []

    async def before(write: Write) -> None:
        if write.verb == "post" and len(rejected) < times:
            rejected.append(write)
            raise error

    life.api.before_write = before
    return rejected


async def remedied(life: Life, error: ApiError, times: int = 10_000) -> list[Write]:
    """Let an endpoint run out of memory and be remedied while Events are rejected."""
    await life.start()
    life.create(REMEDIED)
    await life.settle()
    rejected = reject_events(life, error, times)
    await failing(too_long_a_context)(life)
    assert life.reason() == "Ready"
    assert life.status["oom"]["overrides"] == {"contextLength": 57_344}
    return rejected


def counts(life: Life) -> list[int]:
    """Return how often each of the named Events was posted."""
    return [life.event_reasons().count(one) for one in NAMED]


@pytest.mark.parametrize("status", [409, 429, 500, 503])
@pytest.mark.parametrize("times", [1, 3, 9])
def test_an_event_that_cannot_be_taken_now_is_posted_later(status: int, times: int) -> None:
    async def scenario(life: Life) -> None:
        rejected = await remedied(life, ApiError(status, "Later", "not now"), times)
        await life.settle(200)

        assert len(rejected) == times
        assert counts(life) == [1, 1, 1]

    play(scenario)


def test_events_that_are_never_taken_do_not_hold_a_resource_up_and_are_not_lost() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create(REMEDIED)
        await life.settle()
        reject_events(life, ApiError(500, "InternalError", "a webhook fails"))
        act = asyncio.ensure_future(failing(too_long_a_context)(life))  # it never settles
        await asyncio.sleep(300)
        act.cancel()

        assert life.reason() == "Ready"
        assert life.status["oom"]["steps"][0]["outcome"] == "Helped"
        assert counts(life) == [0, 0, 0]

        life.api.before_write = None
        await life.settle(200)

        assert counts(life) == [1, 1, 1]

    play(scenario)


@pytest.mark.parametrize("status", [403, 404, 422])
def test_an_event_that_is_rejected_for_good_is_given_up_with_one_line(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(life: Life) -> None:
        with caplog.at_level(logging.WARNING, "mistral_operator"):
            rejected = await remedied(life, ApiError(status, "No", "no Events here"))
            await life.settle(1000)

        lost = [one for one in caplog.messages if " is lost: " in one]
        assert len(lost) == len(rejected)
        assert len(lost) == len({*rejected}), "none is posted again"
        assert any("KVCacheTooSmall is lost: POST" in one for one in lost)
        assert any("no Events here" in one for one in lost)

    play(scenario)


def test_a_reason_that_comes_back_is_counted_on_its_event() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()
        for _ in range(3):
            life.edit({"suspend": True})
            await life.settle(20)
            life.edit({"suspend": False})
            await life.settle(20)

        (event,) = suspensions(life)
        assert event["count"] == 3
        assert event["firstTimestamp"] < event["lastTimestamp"]

    play(scenario)


def suspensions(life: Life) -> list[Object]:
    """Return the Events of suspensions."""
    return [one for one in life.objects.all(kinds.EVENT) if one["reason"] == "Suspended"]


def test_a_flood_of_one_reason_hides_no_other() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()
        before = {one["reason"] for one in life.objects.all(kinds.EVENT)}
        for _ in range(50):
            life.edit({"suspend": True})
            await life.settle(20)
            life.edit({"suspend": False})
            await life.settle(20)

        events = life.objects.all(kinds.EVENT)
        reasons = [one["reason"] for one in events]
        assert len(reasons) == len({*reasons}), "each reason is one line of kubectl describe"
        assert before < {*reasons}
        assert suspensions(life)[0]["count"] == 50

    play(scenario)


def test_events_are_in_the_order_of_their_last_occurrence() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()
        for suspend in (True, False, True):
            life.edit({"suspend": suspend})
            await life.settle(20)

        events = sorted(life.objects.all(kinds.EVENT), key=lambda one: one["lastTimestamp"])
        assert events[-1]["reason"] == "Suspended"

    play(scenario)


def test_an_event_that_expired_is_posted_anew() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()
        for _ in range(2):
            life.edit({"suspend": True})
            await life.settle(20)
            (event,) = suspensions(life)
            assert event["count"] == 1
            life.objects.delete(kinds.EVENT, key_of(event))
            life.edit({"suspend": False})
            await life.settle(20)

    play(scenario)


@pytest.mark.parametrize("edit", [{"count": "many"}, {"count": None}, {"message": "forged"}])
def test_an_edited_event_is_counted_on(edit: Object) -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create({"suspend": True})
        await life.settle()
        (event,) = suspensions(life)
        life.objects.update(kinds.EVENT, key_of(event), lambda live: {**live, **edit})
        for suspend in (False, True):
            life.edit({"suspend": suspend})
            await life.settle(20)

        (event,) = suspensions(life)
        assert event["count"] == 2
        assert event["message"].startswith("Ready=False: ")

    play(scenario)


# --- What comes between ---------------------------------------------------------------------------


def reject_counts(life: Life, error: ApiError, times: int) -> list[Write]:
    """Let the API server reject patches of Events; return those that it rejected."""
    rejected: list[Write] = []

    async def before(write: Write) -> None:
        if (write.verb, write.kind) == ("patch", "Event") and len(rejected) < times:
            rejected.append(write)
            raise error

    life.api.before_write = before
    return rejected


async def suspend_again(life: Life) -> None:
    """Resume an endpoint and suspend it again."""
    for suspend in (False, True):
        life.edit({"suspend": suspend})
        await life.settle(20)


@pytest.mark.parametrize("status", [404, 409, 422])
def test_an_event_that_changes_while_it_is_counted_is_read_again(status: int) -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create({"suspend": True})
        await life.settle()
        rejected = reject_counts(life, ApiError(status, "Changed", "it is another one now"), 2)

        await suspend_again(life)

        assert len(rejected) == 2
        (event,) = suspensions(life)
        assert event["count"] == 2

    play(scenario)


def test_an_event_that_may_not_be_counted_is_given_up_with_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create({"suspend": True})
        await life.settle()
        reject_counts(life, ApiError(403, "Forbidden", "no patch of Events"), 10_000)

        await suspend_again(life)

        assert life.reason() == "Suspended"
        (event,) = suspensions(life)
        assert event["count"] == 1

    play(scenario)
    lost = [one for one in caplog.messages if "Event Suspended is lost: " in one]
    assert len(lost) == 1
    assert "no patch of Events" in lost[0]


def test_an_event_in_a_namespace_that_is_being_deleted_is_given_up_without_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    terminating: Object = {"reason": "NamespaceTerminating"}

    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()
        reject_events(life, ApiError(403, "Forbidden", "being terminated", (terminating,)))

        life.edit({"suspend": True})
        await life.settle()

        assert life.reason() == "Suspended"

    play(scenario)
    assert "is lost" not in caplog.text


def test_no_status_is_written_for_a_resource_that_goes_meanwhile() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()

        async def delete(write: Write) -> None:
            if (write.verb, write.kind) == ("post", "Event"):
                life.api.after_write = None
                life.delete()
                await asyncio.sleep(1)  # the watch reports it

        life.api.after_write = delete
        life.edit({"suspend": True})
        before = len(life.api.writes)
        await life.settle()

        assert life.api.after_write is None
        assert "status" not in [one.verb for one in life.api.writes[before:]]

    play(scenario)
