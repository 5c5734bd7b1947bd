"""Each memory failure is counted once, and the history stays small."""

from hypothesis import given
from hypothesis import strategies as st

from memory_failures import failure
from mistral_operator.api import Oom
from mistral_operator.api.oom_status import MAX_COUNTED, MAX_EVENTS
from mistral_operator.oom.counting import record
from mistral_server.contract import FailureClass


def test_an_end_is_counted_when_it_is_seen_and_not_again() -> None:
    first, new = record(Oom(), [failure()])
    second, nothing = record(first, [failure()])

    assert [one.identity for one in new] == ["end-1"]
    assert nothing == []
    assert second == first
    assert [(one.failure, one.count) for one in first.totals] == [("KVCacheTooSmall", 1)]


def test_another_failure_is_remembered_but_not_counted() -> None:
    history, new = record(Oom(), [failure(FailureClass.NOT_WRITABLE)])

    assert len(new) == 1
    assert history.totals == []
    assert history.events == []
    assert history.counted == ["end-1"]


def test_a_deleted_pod_is_no_reason_to_write() -> None:
    history, _ = record(Oom(), [failure(identity="a")])

    assert record(history, []) == (history, [])


def test_failures_that_cannot_be_seen_any_more_are_forgotten_with_the_next_new_one() -> None:
    history, _ = record(Oom(), [failure(identity="a"), failure(identity="b")])

    history, _ = record(history, [failure(identity="b"), failure(identity="c")])

    assert history.counted == ["b", "c"]


def test_the_last_events_are_kept_and_all_are_counted() -> None:
    history = Oom()
    for number in range(30):
        history, _ = record(history, [failure(identity=str(number), pod=f"pod-{number}")])

    assert len(history.events) == MAX_EVENTS
    assert history.events[-1].pod == "pod-29"
    assert history.totals[0].count == 30


def test_more_failures_than_a_status_holds_are_not_counted_again_at_every_pass() -> None:
    visible = [failure(identity=f"{number:05}") for number in range(MAX_COUNTED + 5)]

    first, new = record(Oom(), visible)
    second, nothing = record(first, visible)

    assert len(new) == len(first.counted) == MAX_COUNTED
    assert nothing == []
    assert second == first


@given(st.lists(st.sets(st.integers(0, 20)), max_size=20))
def test_whatever_is_seen_in_whatever_order_each_end_counts_once(seen: list[set[int]]) -> None:
    """An end comes into view, stays for a while, and never comes back."""
    history, gone, before = Oom(), set[int](), set[int]()
    ever: set[int] = set()
    for visible in seen:
        gone |= before - visible
        before = visible - gone
        ever |= before
        history, _ = record(history, [failure(identity=f"{one}") for one in before])

    assert sum(one.count for one in history.totals) == len(ever)
