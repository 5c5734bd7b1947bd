"""An index is filled by a watch and corrected by lists."""

from typing import Any

import pytest

from builders import NAMESPACE, replace_all
from mistral_operator.kube.objects import Key, key_of
from mistral_operator.watch.index import TOMBSTONE_SECONDS, Index
from store_objects import OTHER, OWNER, owner_by_label, thing


@pytest.fixture
def index() -> Index[Any]:
    """Return an empty index that stores the field `value` of objects."""
    return Index(lambda body: body.get("value"), owner_by_label)


def test_a_new_object_is_stored_and_its_owner_returned(index: Index[Any]) -> None:
    assert index.put(thing(value=1)) == OWNER
    assert index.get(Key(NAMESPACE, "one")) == 1
    assert list(index.owned(OWNER)) == list(index.values()) == [1]
    assert len(index) == 1


def test_a_change_of_an_unused_field_returns_no_owner(index: Index[Any]) -> None:
    index.put(thing(version=1, value=1))

    assert index.put(thing(version=2, value=1)) is None
    assert index.put(thing(version=3, value=2)) == OWNER


@pytest.mark.parametrize("version", [4, 5])
def test_an_object_that_is_not_newer_than_the_stored_one_is_ignored(
    index: Index[Any], version: int
) -> None:
    index.put(thing(version=5, value="new"))

    assert index.put(thing(version=version, value="old")) is None
    assert list(index.values()) == ["new"]


def test_versions_are_compared_as_numbers(index: Index[Any]) -> None:
    index.put(thing(version=9, value="old"))

    assert index.put(thing(version=10, value="new")) == OWNER


def test_an_object_that_does_not_exist_is_deleted_unless_its_name_was_reused(
    index: Index[Any],
) -> None:
    body = thing(version=5, value=1)
    index.put(body)
    key = Key(NAMESPACE, "one")

    index.forget(key, "another uid")
    assert index.get(key) == 1
    index.forget(key, body["metadata"]["uid"])
    assert index.get(key) is None
    assert index.put(body) is None, "the body is older than the deletion"
    assert index.put(thing(version=6, value=2)) == OWNER


def test_a_removed_object_is_deleted_and_its_owner_returned(index: Index[Any]) -> None:
    index.put(thing(value=1))

    assert index.remove(thing(version=2)) == OWNER
    assert len(index) == 0
    assert list(index.owned(OWNER)) == []
    assert index.remove(thing(version=2)) is None


def test_a_late_event_of_a_deleted_object_does_not_restore_it(index: Index[Any]) -> None:
    index.put(thing(version=1))
    index.remove(thing(version=5))

    assert index.put(thing(version=4)) is None
    assert len(index) == 0
    assert index.put(thing(version=6)) == OWNER


def test_a_late_response_to_a_write_does_not_restore_a_deleted_object(
    index: Index[Any],
) -> None:
    assert index.remove(thing(version=7)) is None

    assert index.put(thing(version=6)) is None
    assert len(index) == 0


def test_the_deletion_of_a_predecessor_does_not_remove_its_successor(index: Index[Any]) -> None:
    successor = thing(version=9)
    successor["metadata"]["uid"] = "another-uid"
    index.put(successor)

    assert index.remove(thing(version=8)) is None
    assert len(index) == 1


def test_objects_without_an_owner_are_not_stored(index: Index[Any]) -> None:
    assert index.put(thing(owner=None)) is None
    assert len(index) == 0


def test_an_object_that_lost_its_label_returns_its_owner(index: Index[Any]) -> None:
    index.put(thing(version=1))

    assert index.put(thing(version=2, owner=None)) == OWNER
    assert list(index.owned(OWNER)) == []
    assert len(index) == 0


def test_an_object_whose_label_changed_returns_its_previous_owner(index: Index[Any]) -> None:
    index.put(thing(version=1, value=1))

    assert index.put(thing(version=2, value=1, owner="other")) == OWNER
    assert list(index.owned(OWNER)) == []
    assert list(index.owned(OTHER)) == [1]


def test_owned_objects_are_sorted_by_name(index: Index[Any]) -> None:
    for name in ("c", "a", "b"):
        index.put(thing(name, value=name))

    assert list(index.owned(OWNER)) == ["a", "b", "c"]
    assert list(index.owned(OTHER)) == []


def test_a_list_corrects_what_the_watch_missed(index: Index[Any]) -> None:
    index.put(thing("changed", 1, value=1))
    index.put(thing("deleted", 2, owner="other"))
    index.put(thing("same", 3, value=3))
    listed = [thing("changed", 5, value=2), thing("same", 3, value=3), thing("new", 6)]

    assert replace_all(index, listed, as_of=7) == {OWNER, OTHER}
    assert len(index) == 3
    assert index.get(Key(NAMESPACE, "deleted")) is None


def test_a_list_without_differences_returns_no_owner(index: Index[Any]) -> None:
    index.put(thing(value=1))

    assert replace_all(index, [thing(value=1)], as_of=9) == set()


def test_an_object_newer_than_the_list_stays(index: Index[Any]) -> None:
    index.put(thing("young", version=8))

    assert replace_all(index, [], as_of=7) == set()
    assert replace_all(index, [], as_of=8) == {OWNER}


def test_a_list_older_than_a_deletion_does_not_restore_the_object(index: Index[Any]) -> None:
    index.put(thing(version=1))
    index.remove(thing(version=8))

    assert replace_all(index, [thing(version=1)], as_of=7) == set()
    assert len(index) == 0


def test_a_deletion_is_remembered_for_as_long_as_a_watch_may_be_late() -> None:
    now = 0.0
    index: Index[Any] = Index(lambda body: body.get("value"), owner_by_label, clock=lambda: now)
    for version in (1, 2, 3):
        index.put(thing("lasting", version))
        index.remove(thing("lasting", version + 10))
        now += TOMBSTONE_SECONDS
        assert index.put(thing("lasting", version)) is None

    now += 10 * TOMBSTONE_SECONDS
    for name in ("b", "c"):
        index.put(thing(name, 50))
        index.remove(thing(name, 60))
        now += TOMBSTONE_SECONDS
    assert index.version(key_of(thing("lasting", 1))) == -1, "nothing is kept forever"


def test_a_deletion_that_a_list_found_is_remembered(index: Index[Any]) -> None:
    index.put(thing(version=10))
    assert replace_all(index, [], as_of=25) == {OWNER}

    assert index.put(thing(version=10)) is None, "a late event of a version before the list"
    assert index.put(thing(version=26)) == OWNER


def test_a_late_deletion_does_not_shorten_what_is_remembered(index: Index[Any]) -> None:
    body = thing(version=20)
    index.put(body)
    index.forget(key_of(body), body["metadata"]["uid"])
    index.remove(thing(version=15))

    assert index.put(thing(version=20)) is None


def test_a_list_of_one_namespace_deletes_nothing_of_others(index: Index[Any]) -> None:
    index.put(thing(version=1))

    assert index.delete_missing(set(), 9, "another") == set()
    assert index.delete_missing(set(), 9, OWNER.namespace) == {OWNER}
