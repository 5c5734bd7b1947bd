"""What the watches saw, and how lists repair it."""

import copy
from typing import Any

import pytest

from builders import (
    NAME,
    NAMESPACE,
    deployment_body,
    node_body,
    pod_body,
    ready_pod,
    resource_body,
    swept,
)
from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Key
from mistral_operator.watch.store import Shelf, Store, live_child
from store_objects import OTHER, OWNER, Object, owner_by_label, thing


@pytest.fixture
def shelf() -> Shelf[Any]:
    """Return an empty shelf that keeps the field `value` of things."""
    return Shelf(lambda body: body.get("value"), owner_by_label)


def test_a_new_object_is_kept_and_its_owner_told(shelf: Shelf[Any]) -> None:
    assert shelf.put(thing(value=1)) == OWNER
    assert shelf.get(Key(NAMESPACE, "one")) == 1
    assert list(shelf.owned(OWNER)) == list(shelf.values()) == [1]
    assert len(shelf) == 1


def test_a_change_that_does_not_matter_wakes_nobody(shelf: Shelf[Any]) -> None:
    shelf.put(thing(version=1, value=1))

    assert shelf.put(thing(version=2, value=1)) is None
    assert shelf.put(thing(version=3, value=2)) == OWNER


@pytest.mark.parametrize("version", [4, 5])
def test_what_is_not_newer_than_what_is_known_is_ignored(shelf: Shelf[Any], version: int) -> None:
    shelf.put(thing(version=5, value="new"))

    assert shelf.put(thing(version=version, value="old")) is None
    assert list(shelf.values()) == ["new"]


def test_versions_are_compared_as_numbers(shelf: Shelf[Any]) -> None:
    shelf.put(thing(version=9, value="old"))

    assert shelf.put(thing(version=10, value="new")) == OWNER


def test_an_object_that_does_not_exist_is_forgotten_unless_another_has_its_name(
    shelf: Shelf[Any],
) -> None:
    body = thing(version=5, value=1)
    shelf.put(body)
    key = Key(NAMESPACE, "one")

    shelf.forget(key, "another uid")
    assert shelf.get(key) == 1
    shelf.forget(key, body["metadata"]["uid"])
    assert shelf.get(key) is None
    assert shelf.put(body) is None, "what was known of it is old"
    assert shelf.put(thing(version=6, value=2)) == OWNER


def test_a_removed_object_is_forgotten_and_its_owner_told(shelf: Shelf[Any]) -> None:
    shelf.put(thing(value=1))

    assert shelf.remove(thing(version=2)) == OWNER
    assert len(shelf) == 0
    assert list(shelf.owned(OWNER)) == []
    assert shelf.remove(thing(version=2)) is None


def test_a_late_word_of_a_deleted_object_does_not_bring_it_back(shelf: Shelf[Any]) -> None:
    shelf.put(thing(version=1))
    shelf.remove(thing(version=5))

    assert shelf.put(thing(version=4)) is None
    assert len(shelf) == 0
    assert shelf.put(thing(version=6)) == OWNER


def test_the_answer_to_our_own_write_does_not_bring_back_what_was_deleted_before_it_came(
    shelf: Shelf[Any],
) -> None:
    assert shelf.remove(thing(version=7)) is None

    assert shelf.put(thing(version=6)) is None
    assert len(shelf) == 0


def test_the_deletion_of_a_predecessor_does_not_remove_its_successor(shelf: Shelf[Any]) -> None:
    successor = thing(version=9)
    successor["metadata"]["uid"] = "another-uid"
    shelf.put(successor)

    assert shelf.remove(thing(version=8)) is None
    assert len(shelf) == 1


def test_objects_without_an_owner_are_not_kept(shelf: Shelf[Any]) -> None:
    assert shelf.put(thing(owner=None)) is None
    assert len(shelf) == 0


def test_an_object_that_lost_its_label_is_missed_by_its_owner(shelf: Shelf[Any]) -> None:
    shelf.put(thing(version=1))

    assert shelf.put(thing(version=2, owner=None)) == OWNER
    assert list(shelf.owned(OWNER)) == []
    assert len(shelf) == 0


def test_an_object_that_changed_its_label_is_missed_by_its_old_owner(shelf: Shelf[Any]) -> None:
    shelf.put(thing(version=1, value=1))

    assert shelf.put(thing(version=2, value=1, owner="other")) == OWNER
    assert list(shelf.owned(OWNER)) == []
    assert list(shelf.owned(OTHER)) == [1]


def test_owned_objects_come_in_the_order_of_their_names(shelf: Shelf[Any]) -> None:
    for name in ("c", "a", "b"):
        shelf.put(thing(name, value=name))

    assert list(shelf.owned(OWNER)) == ["a", "b", "c"]
    assert list(shelf.owned(OTHER)) == []


def test_a_sweep_finds_what_the_watch_missed(shelf: Shelf[Any]) -> None:
    shelf.put(thing("changed", 1, value=1))
    shelf.put(thing("deleted", 2, owner="other"))
    shelf.put(thing("same", 3, value=3))
    listed = [thing("changed", 5, value=2), thing("same", 3, value=3), thing("new", 6)]

    assert swept(shelf, listed, as_of=7) == {OWNER, OTHER}
    assert len(shelf) == 3
    assert shelf.get(Key(NAMESPACE, "deleted")) is None


def test_a_sweep_over_what_is_known_wakes_nobody(shelf: Shelf[Any]) -> None:
    shelf.put(thing(value=1))

    assert swept(shelf, [thing(value=1)], as_of=9) == set()


def test_an_object_that_is_newer_than_the_list_survives_the_sweep(shelf: Shelf[Any]) -> None:
    shelf.put(thing("young", version=8))

    assert swept(shelf, [], as_of=7) == set()
    assert swept(shelf, [], as_of=8) == {OWNER}


def test_a_list_older_than_a_deletion_does_not_bring_the_object_back(shelf: Shelf[Any]) -> None:
    shelf.put(thing(version=1))
    shelf.remove(thing(version=8))

    assert swept(shelf, [thing(version=1)], as_of=7) == set()
    assert len(shelf) == 0


def test_tombstones_go_with_the_next_newer_list(shelf: Shelf[Any]) -> None:
    shelf.put(thing(version=1))
    shelf.remove(thing(version=8))
    swept(shelf, [], as_of=9)

    assert shelf._gone == {}


def test_what_is_put_is_left_as_it_is() -> None:
    store = Store(kinds.CHILD_KINDS)
    annotations = {"deployment.kubernetes.io/revision": "3", "mine": "kept"}
    deployment = deployment_body(
        uid="u", resourceVersion="1", labels=names.labels(NAME), annotations=annotations
    )
    bodies = {
        kinds.DEPLOYMENT: deployment,
        kinds.POD: ready_pod(),
        kinds.NODE: {**node_body(), "metadata": {**node_body()["metadata"], "uid": "n"}},
        kinds.RESOURCE: resource_body(),
    }
    before = copy.deepcopy(bodies)

    for kind, body in bodies.items():
        assert store.shelf(kind).put(body) is not None

    assert bodies == before


def test_a_child_knows_who_controls_it_and_what_we_applied() -> None:
    body = thing(spec={"a": 1}, status={"b": 2})
    body["metadata"] |= {
        "annotations": {names.ANNOTATION_APPLIED: "d1"},
        "ownerReferences": [{"uid": "x"}, {"uid": "y", "controller": True}],
        "managedFields": [{}],
        "generation": 3,
    }

    child = live_child(kinds.SERVICE, body)

    assert (child.controller_uid, child.digest, child.terminating) == ("y", "d1", False)
    assert child.object()["spec"] == {"a": 1}
    assert child.object()["kind"] == "Service"
    assert "status" not in child.object()
    assert {"managedFields", "generation"}.isdisjoint(child.object()["metadata"])


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"status": {"a": 1}}, True),
        ({"spec": {"a": 1}}, False),
        ({"data": {"a": "1"}}, False),
    ],
)
def test_a_fingerprint_covers_what_we_may_have_to_take_back(changes: Object, same: bool) -> None:
    one, other = live_child(kinds.SERVICE, thing()), live_child(kinds.SERVICE, thing(**changes))

    assert (one.fingerprint == other.fingerprint) is same


def test_a_rollout_counter_of_the_deployment_controller_is_no_change() -> None:
    def deployment(revision: str) -> Object:
        annotations = {"deployment.kubernetes.io/revision": revision}
        return deployment_body(uid="u", annotations=annotations)

    one, two = (live_child(kinds.DEPLOYMENT, deployment(revision)) for revision in "12")

    assert one.fingerprint == two.fingerprint


def test_the_store_brings_a_resource_and_its_objects_together() -> None:
    store = Store(kinds.CHILD_KINDS)
    deployment = deployment_body(3, uid="u", resourceVersion="1", labels=names.labels(NAME))

    assert store.shelf(kinds.DEPLOYMENT).put(deployment) == OWNER
    assert store.shelf(kinds.POD).put(pod_body()) == OWNER

    assert list(store.children_of(OWNER)) == [(kinds.DEPLOYMENT, NAME)]
    facts = store.deployment_of(OWNER)
    assert facts is not None
    assert facts.wanted == 3
    assert store.deployment_of(OTHER) is None


def test_a_resource_is_kept_without_the_bookkeeping_of_the_api_server() -> None:
    store = Store(())
    body = resource_body(managedFields=[{}])
    store.resources.put(body)

    kept = store.resources.get(OWNER)

    assert kept is not None
    assert {"managedFields", "resourceVersion"}.isdisjoint(kept["metadata"])
    assert kept["spec"] == body["spec"]
