"""What to do about the children of a resource."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import CONTEXT, NAME, UID, live, live_children, merged, resource
from mistral_operator.api import Resource
from mistral_operator.apply.plan import Plan, make_plan
from mistral_operator.kube import kinds, names
from mistral_operator.kube.kinds import Kind
from mistral_operator.render import KubernetesObject, children
from mistral_operator.watch.facts import claim_facts
from mistral_operator.watch.live_children import LiveChild, live_child

Children = dict[tuple[Kind, str], LiveChild]

SERVICE = (kinds.SERVICE, NAME)
DEPLOYMENT = (kinds.DEPLOYMENT, NAME)
CLAIM = (kinds.CLAIM, f"{NAME}-model-cache")
POLICY = (kinds.NETWORK_POLICY, NAME)

OTHER_OWNER = {"ownerReferences": [{"uid": "another-uid", "controller": True}]}
NO_OWNER: dict[str, Any] = {"ownerReferences": []}
NOT_OURS = {"annotations": {names.ANNOTATION_APPLIED: None}}


def plan(owner: Resource, held: Children) -> Plan:
    """Return the plan for a resource whose children are as given."""
    claim = held.get(CLAIM)
    facts = None if claim is None else claim_facts(claim.object(), claim.uid)
    return make_plan(owner.uid, children(owner, CONTEXT, claim=facts), held)


def with_metadata(key: tuple[Kind, str], *changes: dict[str, Any]) -> Children:
    """Return the children of a resource, one of them with changed metadata."""
    held = live_children(resource())
    body = live(held[key].object())
    for change in changes:
        body = merged(body, {"metadata": change})
    annotations = body["metadata"]["annotations"]
    body["metadata"]["annotations"] = {k: v for k, v in annotations.items() if v is not None}
    return held | {key: live_child(key[0], body)}


def steps(made: Plan) -> list[str]:
    """Return the plan as its log line has it, one step an item."""
    return str(made).split("; ")


def test_with_everything_in_place_there_is_nothing_to_do() -> None:
    made = plan(resource(), live_children(resource()))

    assert made.settled
    assert str(made) == "nothing to do"


def test_annotations_that_a_resource_sets_are_applied_once() -> None:
    annotated = resource(
        {"service": {"annotations": {"a": "b"}}, "pod": {"serviceAccountAnnotations": {"c": "d"}}}
    )

    assert plan(annotated, live_children(annotated)).settled
    assert steps(plan(annotated, live_children(resource()))) == [
        f"apply {kind} {NAME} (the resource changed)" for kind in ("ServiceAccount", "Service")
    ]


def test_missing_children_are_applied_in_the_order_of_rendering() -> None:
    made = plan(resource({"cache": {}}), {})

    assert steps(made) == [
        "apply ServiceAccount small (missing)",
        "apply PersistentVolumeClaim small-model-cache (missing)",
        "apply NetworkPolicy small (missing)",
        "apply Service small (missing)",
        "apply PodDisruptionBudget small (missing)",
        "apply Deployment small (missing)",
    ]
    assert not any(step.exists for step in made.applies)


def test_only_children_that_the_change_touches_are_applied() -> None:
    made = plan(resource({"replicas": 2}), live_children(resource()))

    assert steps(made) == ["apply Deployment small (the resource changed)"]
    assert made.applies[0].exists


def test_a_field_that_is_no_longer_wanted_is_found_by_the_digest() -> None:
    before = resource({"pod": {"nodeSelector": {"pool": "gpu"}}})

    assert steps(plan(resource(), live_children(before))) == [
        "apply Deployment small (the resource changed)"
    ]


def test_a_field_that_another_owner_changed_is_taken_back() -> None:
    held = live_children(resource())
    body = merged(held[DEPLOYMENT].object(), {"spec": {"replicas": 7}})
    held[DEPLOYMENT] = live_child(kinds.DEPLOYMENT, live(body))

    made = plan(resource(), held)

    assert steps(made) == ["apply Deployment small (/spec/replicas was changed by another owner)"]
    assert made.applies[0].exists


def test_fields_that_others_added_are_left_alone() -> None:
    held = live_children(resource())
    body = merged(held[SERVICE].object(), {"spec": {"sessionAffinity": "ClientIP"}})
    held[SERVICE] = live_child(kinds.SERVICE, live(body))

    assert plan(resource(), held).settled


def test_a_child_that_is_no_longer_wanted_is_deleted_by_its_uid() -> None:
    made = plan(resource({"networkPolicy": False}), live_children(resource()))

    assert steps(made) == ["delete NetworkPolicy small (no longer desired)"]
    assert made.deletes[0].uid == "uid-of-NetworkPolicy-small"


def test_a_claim_is_never_deleted_as_it_holds_what_took_hours_to_fetch() -> None:
    held = live_children(resource({"cache": {}}))

    made = plan(resource(), held)

    assert not made.deletes
    assert CLAIM in held


VOLUME = {"spec": {"volumeName": "pvc-1"}}
"""What a claim has once it is bound."""


def with_claim(before: dict[str, Any], **changes: Any) -> Children:
    """Return the children of a resource, whose claim has further fields."""
    held = live_children(resource({"cache": before}))
    body = live(merged(held[CLAIM].object(), changes))
    return held | {CLAIM: live_child(kinds.CLAIM, body)}


REPLACED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "another access mode": ({"accessMode": "ReadWriteMany"}, {"accessMode": "ReadWriteOnce"}),
    "another class": ({"storageClassName": "a"}, {"storageClassName": "b"}),
    "a class where there is none": ({}, {"storageClassName": "b"}),
    "no class": ({"storageClassName": "a"}, {}),
    "another size": ({"size": "80Gi"}, {"size": "70Gi"}),
}


@pytest.mark.parametrize(("before", "after"), REPLACED.values(), ids=REPLACED)
def test_a_claim_that_was_never_bound_is_replaced(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    made = plan(resource({"cache": after}), with_claim(before))

    assert steps(made) == [
        "delete PersistentVolumeClaim small-model-cache (never bound, and the resource changed)"
    ]
    assert made.deletes[0].unchanged, "it may have been bound meanwhile"


@pytest.mark.parametrize(("before", "after"), REPLACED.values(), ids=REPLACED)
def test_a_bound_claim_is_never_replaced(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert plan(resource({"cache": after}), with_claim(before, **VOLUME)).settled


def test_what_admission_changes_in_a_claim_does_not_replace_it_again_and_again() -> None:
    held = with_claim({}, spec={"storageClassName": "by-admission"})

    assert plan(resource({"cache": {}}), held).settled


def test_a_change_that_a_claim_can_take_does_not_replace_it() -> None:
    made = plan(resource({"cache": {"size": "200Gi"}}), with_claim({"size": "80Gi"}, **VOLUME))

    assert steps(made) == ["apply PersistentVolumeClaim small-model-cache (the resource changed)"]


def test_a_claim_that_stays_has_no_owner_and_is_used_by_the_next_resource_of_the_name() -> None:
    held = {CLAIM: with_claim({"whenDeleted": "Retain"}, **VOLUME)[CLAIM]}
    assert "ownerReferences" not in held[CLAIM].object()["metadata"]

    for policy in ("Retain", "Delete"):
        successor = resource({"cache": {"whenDeleted": policy}}, uid="uid-of-the-successor")
        made = plan(successor, held)

        assert not made.obstacles
        claims = [step.uid for step in made.applies if step.kind == kinds.CLAIM]
        assert claims == ([held[CLAIM].uid] if policy == "Delete" else [])


@pytest.mark.parametrize("change", [OTHER_OWNER, NOT_OURS], ids=["an owner", "no digest"])
def test_a_claim_of_another_owner_is_not_taken_over(change: dict[str, Any]) -> None:
    (claim,) = [with_claim({"whenDeleted": "Retain"}, **VOLUME)[CLAIM]]
    body = merged(live(claim.object()), {"metadata": change})
    annotations = body["metadata"]["annotations"]
    body["metadata"]["annotations"] = {k: v for k, v in annotations.items() if v is not None}

    made = plan(resource({"cache": {}}), {CLAIM: live_child(kinds.CLAIM, body)})

    assert [one.name for one in made.obstacles] == [claim.name]


@pytest.mark.parametrize(
    ("changes", "exists"),
    [
        pytest.param([OTHER_OWNER], False, id="an object of another owner"),
        pytest.param([OTHER_OWNER, NOT_OURS], False, id="a foreign object of another owner"),
        pytest.param([NO_OWNER, NOT_OURS], False, id="an object without a controller"),
        pytest.param([{"deletionTimestamp": "now"}], False, id="ours on its way out"),
        pytest.param([NO_OWNER], True, id="ours whose owner reference was removed"),
    ],
)
def test_only_what_is_ours_is_applied_over(changes: list[dict[str, Any]], exists: bool) -> None:
    made = plan(resource({"replicas": 2}), with_metadata(DEPLOYMENT, *changes))

    assert [step.exists for step in made.applies] == ([True] if exists else [])
    assert len(made.obstacles) == (0 if exists else 1)


@pytest.mark.parametrize(
    ("changes", "terminating"),
    [
        pytest.param([OTHER_OWNER], True, id="the child of a predecessor of this name"),
        pytest.param([{"deletionTimestamp": "now"}], True, id="ours, being deleted"),
        pytest.param([NOT_OURS, {"deletionTimestamp": "now"}], True, id="foreign, being deleted"),
        pytest.param([OTHER_OWNER, NOT_OURS], False, id="foreign, with an owner"),
        pytest.param([NO_OWNER, NOT_OURS], False, id="foreign, without an owner"),
    ],
)
def test_an_obstacle_says_whether_waiting_is_enough(
    changes: list[dict[str, Any]], terminating: bool
) -> None:
    made = plan(resource(), with_metadata(SERVICE, *changes))

    assert [one.terminating for one in made.obstacles] == [terminating]
    assert "blocked by Service small" in steps(made)
    assert not made.settled


@pytest.mark.parametrize("changes", [[OTHER_OWNER], [NO_OWNER, NOT_OURS]])
def test_an_unwanted_child_that_is_not_ours_is_not_deleted(changes: list[dict[str, Any]]) -> None:
    held = with_metadata(POLICY, *changes)

    assert plan(resource({"networkPolicy": False}), held).settled


specs = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 3),
        "suspend": st.booleans(),
        "networkPolicy": st.booleans(),
        "cache": st.just({}),
        "image": st.sampled_from(["a:1", "b:2"]),
        "sharedMemory": st.sampled_from(["1Gi", "2048Mi"]),
    },
)


@given(specs, specs, st.sets(st.sampled_from([SERVICE, DEPLOYMENT, POLICY])))
def test_after_a_plan_was_carried_out_there_is_nothing_to_do(
    before: dict[str, Any], after: dict[str, Any], lost: set[tuple[Kind, str]]
) -> None:
    held = {key: one for key, one in live_children(resource(before)).items() if key not in lost}
    owner = resource(after)

    carried_out = carry_out(plan(owner, held), held)

    assert plan(owner, carried_out).settled
    assert set(carried_out) - {CLAIM} == set(live_children(owner)) - {CLAIM}


def carry_out(made: Plan, held: Children) -> Children:
    """Do to a model of a cluster what the executor does to a real one."""
    result = dict(held)
    for step in made.applies:
        result[step.kind, step.name] = live_child(step.kind, live(step.desired))
    for deletion in made.deletes:
        assert result.pop((deletion.kind, deletion.name)).uid == deletion.uid
    return result


def test_planning_changes_neither_what_is_wanted_nor_what_lives() -> None:
    desired: tuple[KubernetesObject, ...] = children(resource({"replicas": 2}), CONTEXT)
    held = live_children(resource())
    before = copy.deepcopy((desired, held))

    make_plan(UID, desired, held)

    assert (desired, held) == before
