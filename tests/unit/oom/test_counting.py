"""Each lack of memory is counted once, and the books stay small."""

from hypothesis import given
from hypothesis import strategies as st

from memory_failures import failure
from mistral_operator.api import Oom
from mistral_operator.api.oom_status import MAX_EVENTS
from mistral_operator.oom.counting import account
from mistral_server.contract import FailureClass


def test_an_end_is_counted_when_it_is_seen_and_not_again() -> None:
    first, new = account(Oom(), [failure()])
    second, nothing = account(first, [failure()])

    assert [one.identity for one in new] == ["end-1"]
    assert nothing == []
    assert second == first
    assert [(one.failure, one.count) for one in first.totals] == [("KVCacheTooSmall", 1)]


def test_what_is_no_lack_of_memory_is_remembered_but_not_counted() -> None:
    books, new = account(Oom(), [failure(FailureClass.NOT_WRITABLE)])

    assert len(new) == 1
    assert books.totals == []
    assert books.events == []
    assert books.counted == ["end-1"]


def test_that_a_pod_is_gone_is_not_worth_a_write() -> None:
    books, _ = account(Oom(), [failure(identity="a")])

    assert account(books, []) == (books, [])


def test_failures_that_cannot_be_seen_any_more_are_forgotten_with_the_next_new_one() -> None:
    books, _ = account(Oom(), [failure(identity="a"), failure(identity="b")])

    books, _ = account(books, [failure(identity="b"), failure(identity="c")])

    assert books.counted == ["b", "c"]


def test_the_last_events_are_kept_and_all_are_counted() -> None:
    books = Oom()
    for number in range(30):
        books, _ = account(books, [failure(identity=str(number), pod=f"pod-{number}")])

    assert len(books.events) == MAX_EVENTS
    assert books.events[-1].pod == "pod-29"
    assert books.totals[0].count == 30


@given(st.lists(st.sets(st.integers(0, 20)), max_size=20))
def test_whatever_is_seen_in_whatever_order_each_end_counts_once(seen: list[set[int]]) -> None:
    """An end comes into view, stays for a while, and never comes back."""
    books, gone, before = Oom(), set[int](), set[int]()
    ever: set[int] = set()
    for visible in seen:
        gone |= before - visible
        before = visible - gone
        ever |= before
        books, _ = account(books, [failure(identity=f"{one}") for one in before])

    assert sum(one.count for one in books.totals) == len(ever)
