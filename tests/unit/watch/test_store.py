"""The store is filled by watches and corrected by lists."""

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
    replace_all,
    resource_body,
)
from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Key, key_of
from mistral_operator.watch.store import TOMBSTONE_SECONDS, Index, Store, live_child
from store_objects import OTHER, OWNER, Object, owner_by_label, thing


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


def test_stored_bodies_are_not_modified() -> None:
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
        assert store.index(kind).put(body) is not None

    assert bodies == before


def test_a_child_has_its_controller_and_the_applied_digest() -> None:
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
def test_a_fingerprint_covers_fields_that_may_have_to_be_reverted(
    changes: Object, same: bool
) -> None:
    one, other = live_child(kinds.SERVICE, thing()), live_child(kinds.SERVICE, thing(**changes))

    assert (one.fingerprint == other.fingerprint) is same


def test_a_rollout_counter_of_the_deployment_controller_is_no_change() -> None:
    def deployment(revision: str) -> Object:
        annotations = {"deployment.kubernetes.io/revision": revision}
        return deployment_body(uid="u", annotations=annotations)

    one, two = (live_child(kinds.DEPLOYMENT, deployment(revision)) for revision in "12")

    assert one.fingerprint == two.fingerprint


def test_the_store_returns_the_objects_of_a_resource() -> None:
    store = Store(kinds.CHILD_KINDS)
    deployment = deployment_body(3, uid="u", resourceVersion="1", labels=names.labels(NAME))

    assert store.index(kinds.DEPLOYMENT).put(deployment) == OWNER
    assert store.index(kinds.POD).put(pod_body()) == OWNER

    assert list(store.children_of(OWNER)) == [(kinds.DEPLOYMENT, NAME)]
    facts = store.deployment_of(OWNER)
    assert facts is not None
    assert facts.desired == 3
    assert store.deployment_of(OTHER) is None


def test_a_resource_is_stored_without_server_managed_metadata() -> None:
    store = Store(())
    body = resource_body(managedFields=[{}])
    store.resources.put(body)

    kept = store.resources.get(OWNER)

    assert kept is not None
    assert {"managedFields", "resourceVersion"}.isdisjoint(kept["metadata"])
    assert kept["spec"] == body["spec"]


def test_annotations_of_a_resource_are_not_kept() -> None:
    store = Store(())
    last_applied = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 200_000}

    store.resources.put(resource_body(annotations=last_applied, managedFields=[{"f": "x"}]))

    (body,) = store.resources.values()
    assert not {"annotations", "managedFields", "resourceVersion"} & body["metadata"].keys()


def test_annotations_of_others_are_not_kept_of_a_child() -> None:
    annotations = {"theirs": "x" * 200_000, names.ANNOTATION_APPLIED: "d1"}

    child = live_child(kinds.DEPLOYMENT, deployment_body(uid="u", annotations=annotations))

    assert child.object()["metadata"]["annotations"] == {names.ANNOTATION_APPLIED: "d1"}
    assert len(child.content) < 1000
