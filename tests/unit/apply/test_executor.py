"""How a plan is carried out: what is asked first, taken back by force, or left to its owner."""

import pytest

from api_server import ApiServer
from builders import CONTEXT, NAME, NAMESPACE, UID, live, merged, resource
from fake_api_server import FakeApiServer
from mistral_operator.api import Reason
from mistral_operator.api.status import Problem
from mistral_operator.apply.executor import Executor
from mistral_operator.apply.plan import Apply, Delete, Obstacle, Plan
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import Unavailable
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Key
from mistral_operator.kube.transport import Object
from mistral_operator.render import children
from mistral_operator.watch.store import Store

OURS: dict[Kind, Object] = {
    kinds.kind_of(child["apiVersion"], child["kind"]): child
    for child in children(resource(), CONTEXT)
}
FOREIGN: Object = {"metadata": {"name": NAME, "uid": "theirs", "resourceVersion": "1"}}
EXISTS: Object = {"message": "the object has been modified", "reason": "Conflict"}


def step(kind: Kind, *, exists: bool = False) -> Plan:
    """Return a plan that applies one child."""
    uid = live(OURS[kind])["metadata"]["uid"] if exists else None
    return Plan(applies=(Apply(OURS[kind], kind, NAME, uid, "missing"),))


async def carried_out(cluster: Cluster, plan: Plan) -> tuple[list[Problem], Store]:
    """Carry out a plan; return what stood in its way, and what is known afterwards."""
    store = Store(kinds.CHILD_KINDS)
    return await Executor(cluster, store).execute(resource(), plan), store


def requests_of(api: ApiServer) -> list[tuple[str, str | None]]:
    """Return the requests, each with whether it took fields by force."""
    return [(method, query.get("force")) for method, _, query, _ in api.requests]


async def test_a_child_is_created_without_force_and_stored_at_once(
    cluster: Cluster, api: ApiServer
) -> None:
    api.script = [(201, live(OURS[kinds.SERVICE]))]

    problems, store = await carried_out(cluster, step(kinds.SERVICE))

    assert problems == []
    assert requests_of(api) == [("PATCH", "false")]
    (child,) = store.children[kinds.SERVICE].values()
    assert (child.name, child.controller_uid) == (NAME, UID)


async def test_a_foreign_object_is_left_alone(cluster: Cluster, api: ApiServer) -> None:
    api.script = [(409, EXISTS), (200, FOREIGN)]

    (problem,), store = await carried_out(cluster, step(kinds.DEPLOYMENT))

    assert problem.reason is Reason.NAME_TAKEN
    assert f"Deployment {NAME} exists and does not belong to this resource" in problem.message
    assert requests_of(api) == [("PATCH", "false"), ("GET", None)]
    assert not len(store.children[kinds.DEPLOYMENT])


async def test_ours_that_the_watch_did_not_show_is_taken_back(
    cluster: Cluster, api: ApiServer
) -> None:
    stripped = merged(live(OURS[kinds.DEPLOYMENT]), {"metadata": {"labels": {}}})
    api.script = [(409, EXISTS), (200, stripped), (200, live(OURS[kinds.DEPLOYMENT]))]

    problems, _ = await carried_out(cluster, step(kinds.DEPLOYMENT))

    assert problems == []
    assert requests_of(api) == [("PATCH", "false"), ("GET", None), ("PATCH", "true")]


async def test_an_object_that_is_gone_again_is_tried_later(
    cluster: Cluster, api: ApiServer
) -> None:
    api.script = [(409, EXISTS), (404, {"kind": "Status"})]

    with pytest.raises(Unavailable, match="the object has been modified"):
        await carried_out(cluster, step(kinds.DEPLOYMENT))


async def test_an_edit_that_applying_does_not_undo_is_put_back(
    cluster: Cluster, api: ApiServer
) -> None:
    ours = OURS[kinds.SERVICE]
    renamed = [{**port, "name": f"my-{port['name']}"} for port in ours["spec"]["ports"]]
    edited = merged(live(ours), {"spec": {"ports": renamed}})
    api.script = [(200, edited), *[(200, live(ours))] * 3]

    problems, _ = await carried_out(cluster, step(kinds.SERVICE, exists=True))

    assert problems == []
    assert [kind for *_, kind in api.requests[:2]] == [
        "application/apply-patch+yaml",
        "application/json-patch+json",
    ]


async def test_what_the_api_server_refuses_is_reported_and_the_other_steps_are_taken(
    cluster: Cluster, api: ApiServer
) -> None:
    service = live(OURS[kinds.SERVICE])
    api.script = [(403, {"message": "exceeded quota"}), (201, service), (200, {})]
    plan = Plan(
        applies=step(kinds.DEPLOYMENT).applies + step(kinds.SERVICE).applies,
        deletes=(Delete(kinds.CLAIM, "cache", "its-uid", "not desired"),),
        obstacles=(Obstacle(kinds.NETWORK_POLICY, NAME, terminating=True),),
    )

    problems, _ = await carried_out(cluster, plan)

    assert [problem.reason for problem in problems] == [Reason.CREATING, Reason.APPLY_FAILED]
    assert problems[1].message == f"Deployment {NAME}: exceeded quota"
    assert [method for method, _ in requests_of(api)] == ["PATCH", "PATCH", "DELETE"]


async def test_an_api_server_that_is_away_ends_the_plan(cluster: Cluster, api: ApiServer) -> None:
    api.script = [(503, {"message": "etcd is away"})]
    plan = Plan(applies=step(kinds.DEPLOYMENT).applies + step(kinds.SERVICE).applies)

    with pytest.raises(Unavailable, match="etcd is away"):
        await carried_out(cluster, plan)

    assert len(api.requests) == 1


async def test_a_webhook_that_does_not_respond_keeps_no_other_kind_from_being_written(
    cluster: Cluster, api: ApiServer
) -> None:
    service = live(OURS[kinds.SERVICE])
    api.script = [(500, {"message": "failed calling webhook"}), (201, service)]
    plan = Plan(applies=step(kinds.DEPLOYMENT).applies + step(kinds.SERVICE).applies)

    with pytest.raises(Unavailable, match="failed calling webhook"):
        await carried_out(cluster, plan)

    assert [method for method, _ in requests_of(api)] == ["PATCH", "PATCH"]


def of_successor(child: Object) -> Object:
    """Return a child as a resource of the same name has it that was created later."""
    (owner,) = child["metadata"]["ownerReferences"]
    return merged(child, {"metadata": {"ownerReferences": [{**owner, "uid": "successor"}]}})


@pytest.mark.parametrize("kind", [kinds.DEPLOYMENT, kinds.SERVICE, kinds.SERVICE_ACCOUNT], ids=str)
async def test_a_child_of_a_resource_that_was_created_anew_is_left_alone(kind: Kind) -> None:
    api, key = FakeApiServer(), Key(NAMESPACE, NAME)
    async with api.cluster() as cluster:
        ours = await cluster.apply(OURS[kind], force=False)
        store = Store(kinds.CHILD_KINDS)
        store.children[kind].put(ours)
        api.objects.remove(kind, key)
        theirs = await cluster.apply(of_successor(OURS[kind]), force=False)
        plan = Plan(applies=(Apply(OURS[kind], kind, NAME, ours["metadata"]["uid"], "changed"),))

        with pytest.raises(Unavailable, match="was deleted or replaced meanwhile"):
            await Executor(cluster, store).execute(resource(), plan)

        assert api.objects.get(kind, key) == theirs
        stored = store.children[kind].get(key)
        assert stored is not None
        assert stored.uid == theirs["metadata"]["uid"]


async def test_a_child_that_is_gone_is_not_created_in_passing() -> None:
    # Before a child is created again, its resource is read: see control/resource_gone.py.
    api, key = FakeApiServer(), Key(NAMESPACE, NAME)
    async with api.cluster() as cluster:
        ours = await cluster.apply(OURS[kinds.SERVICE], force=False)
        store = Store(kinds.CHILD_KINDS)
        store.children[kinds.SERVICE].put(ours)
        api.objects.remove(kinds.SERVICE, key)
        uid = ours["metadata"]["uid"]
        plan = Plan(applies=(Apply(OURS[kinds.SERVICE], kinds.SERVICE, NAME, uid, "changed"),))

        with pytest.raises(Unavailable, match="was deleted or replaced meanwhile"):
            await Executor(cluster, store).execute(resource(), plan)

        assert api.objects.find(kinds.SERVICE, key) is None
        assert store.children[kinds.SERVICE].get(key) is None
