"""What is kept of a live child, and what of it is drift."""

import pytest

from builders import deployment_body
from mistral_operator.kube import kinds, names
from mistral_operator.watch.live_children import live_child
from store_objects import Object, thing


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


def test_annotations_of_others_are_not_kept_of_a_child() -> None:
    annotations = {"theirs": "x" * 200_000, names.ANNOTATION_APPLIED: "d1"}

    child = live_child(kinds.DEPLOYMENT, deployment_body(uid="u", annotations=annotations))

    assert child.object()["metadata"]["annotations"] == {names.ANNOTATION_APPLIED: "d1"}
    assert len(child.content) < 1000
