"""Shares of a limited resource: what one group takes, the others keep."""

import pytest

from mistral_server.guarded_http.shares import Shares


def taken(shares: Shares, group: str, most: int = 1000) -> int:
    """Return how much a group gets that takes one after the other."""
    return next(count for count in range(most) if not shares.take(group))


def test_the_only_group_gets_everything() -> None:
    assert taken(Shares(10), "a") == 10


@pytest.mark.parametrize(("groups", "rest"), [(2, 25), (5, 10), (50, 1)])
def test_a_greedy_group_leaves_the_reserved_part_of_each_other(groups: int, rest: int) -> None:
    shares = Shares(100, lambda: groups)

    assert taken(shares, "greedy") == 100 - rest * (groups - 1)
    assert [taken(shares, f"group {number}") for number in range(groups - 1)] == [rest] * (
        groups - 1
    )


def test_what_is_released_can_be_taken_again() -> None:
    shares = Shares(100, lambda: 2)
    assert taken(shares, "a") == 75

    shares.release("a", 30)

    assert shares.used("a") == 45
    assert taken(shares, "b") == 55
    assert not shares.take("a")


def test_an_amount_that_is_larger_than_the_rest_takes_nothing() -> None:
    shares = Shares(100)

    assert not shares.take("a", 101)
    assert shares.take("a", 100)


def test_groups_beyond_the_announced_number_reserve_no_more_than_there_is() -> None:
    shares = Shares(4, lambda: 1)

    assert shares.take("a")
    assert shares.take("b")
    assert sum(taken(shares, f"group {number}") for number in range(5)) <= 2
