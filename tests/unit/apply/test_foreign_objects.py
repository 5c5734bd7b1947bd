"""Nothing of others is taken over: an object that is not ours stays byte for byte, of any kind."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from builders import CONTEXT, NAMESPACE, Object, merged, resource
from fake_api_server import FakeApiServer, Write
from golden_cases import FETCHING
from mistral_operator.api import Reason, Resource
from mistral_operator.api.status import Problem
from mistral_operator.apply.executor import Executor
from mistral_operator.apply.plan import Plan, make_plan
from mistral_operator.kube import kinds, names
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import Unavailable
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Key
from mistral_operator.render import RenderContext, children
from mistral_operator.scale_to_zero import ActivatorRoute
from mistral_operator.watch.store import Store

EVERYTHING = resource(
    {
        "cache": {"prefetch": "BeforePods"},
        "autoscaling": {"driver": "KEDA", "minReplicas": 1, "maxReplicas": 2},
    }
)
RENDERED: dict[Kind, Object] = {
    kinds.kind_of(child["apiVersion"], child["kind"]): child
    for child in children(
        EVERYTHING,
        RenderContext(CONTEXT.server_image, pod_monitors=True, scaled_objects=True),
        ActivatorRoute(20_000, ("10.0.0.9",)),
        pulling=("gpu-0",),
        prefetch=FETCHING,
    )
}


def bare(child: Object) -> Object:
    """Return what another owner may have made of a name, without a field to conflict on."""
    metadata = {key: child["metadata"][key] for key in ("name", "namespace")}
    body = {"apiVersion": child["apiVersion"], "kind": child["kind"], "metadata": metadata}
    if child["kind"] == "Service":
        return {**body, "spec": {"ports": [{"name": "db", "port": 5432}]}}
    return {**body, "spec": {}}


def same_fields(child: Object) -> Object:
    """Return an object with our very fields, as a copy by another owner has."""
    metadata = {key: child["metadata"][key] for key in ("name", "namespace", "labels")}
    return {**child, "metadata": metadata}


def of_another_owner(child: Object) -> Object:
    """Return a child of another resource, down to our annotation."""
    (owner,) = child["metadata"]["ownerReferences"]
    return merged(child, {"metadata": {"ownerReferences": [{**owner, "uid": "another"}]}})


THEIRS: dict[str, Callable[[Object], Object]] = {
    "bare": bare,
    "with our fields": same_fields,
    "of another owner": of_another_owner,
}


@pytest.fixture
def api() -> FakeApiServer:
    """Return an API server with every kind."""
    return FakeApiServer(optional_kinds=kinds.OPTIONAL_KINDS)


@pytest_asyncio.fixture
async def cluster(api: FakeApiServer) -> AsyncIterator[Cluster]:
    """Return a connection to that API server."""
    async with api.cluster() as made:
        yield made


def key_of(kind: Kind) -> Key:
    return Key(NAMESPACE, RENDERED[kind]["metadata"]["name"])


async def apply_all(cluster: Cluster, owner: Resource, store: Store) -> list[Problem]:
    """Do what a reconcile does about the children, with what the store knows."""
    live = store.children_of(Key(owner.namespace, owner.name))
    plan: Plan = make_plan(owner.uid, RENDERED.values(), live)
    return await Executor(cluster, store).execute(owner, plan)


def new_store() -> Store:
    return Store((*kinds.CHILD_KINDS, *kinds.OPTIONAL_KINDS))


def test_every_kind_of_child_is_in_the_table() -> None:
    assert set(RENDERED) == {*kinds.CHILD_KINDS, *kinds.OPTIONAL_KINDS}


@pytest.mark.parametrize("theirs", THEIRS)
@pytest.mark.parametrize("kind", RENDERED, ids=lambda kind: kind.kind)
async def test_an_object_that_was_there_before_is_left_as_it_is(
    cluster: Cluster, api: FakeApiServer, kind: Kind, theirs: str
) -> None:
    before = api.objects.create(kind, THEIRS[theirs](RENDERED[kind]))

    problems = await apply_all(cluster, EVERYTHING, new_store())

    assert [one.reason for one in problems] == [Reason.NAME_TAKEN]
    assert f"{kind.kind} {key_of(kind).name} exists" in problems[0].message
    assert api.objects.get(kind, key_of(kind)) == before


@pytest.mark.parametrize("kind", RENDERED, ids=lambda kind: kind.kind)
async def test_an_object_that_appears_right_before_the_write_is_left_as_it_is(
    cluster: Cluster, api: FakeApiServer, kind: Kind
) -> None:
    async def appear(write: Write) -> None:
        if write.kind == kind.kind and api.objects.find(kind, key_of(kind)) is None:
            api.objects.create(kind, bare(RENDERED[kind]))

    api.before_write = appear

    (problem,) = await apply_all(cluster, EVERYTHING, new_store())

    assert problem.reason is Reason.NAME_TAKEN
    live = api.objects.find(kind, key_of(kind))
    assert live is not None
    assert "ownerReferences" not in live["metadata"]


@pytest.mark.parametrize("kind", RENDERED, ids=lambda kind: kind.kind)
async def test_an_object_that_replaced_ours_unseen_is_left_as_it_is(
    cluster: Cluster, api: FakeApiServer, kind: Kind
) -> None:
    store = new_store()
    assert await apply_all(cluster, EVERYTHING, store) == []
    # Something is to be applied: the watch showed an edit, and nothing after it.
    edit: Object = {"metadata": {"annotations": {names.ANNOTATION_APPLIED: "another"}}}
    api.objects.update(kind, key_of(kind), lambda live: merged(live, edit))
    store.children[kind].put(api.objects.get(kind, key_of(kind)))
    api.objects.delete(kind, key_of(kind))
    theirs = api.objects.create(kind, bare(RENDERED[kind]))

    with pytest.raises(Unavailable, match="was deleted or replaced meanwhile"):
        await apply_all(cluster, EVERYTHING, store)
    (problem,) = await apply_all(cluster, EVERYTHING, store)

    assert problem.reason is Reason.NAME_TAKEN
    assert api.objects.get(kind, key_of(kind)) == theirs


async def test_an_object_that_is_free_again_becomes_ours(
    cluster: Cluster, api: FakeApiServer
) -> None:
    api.objects.create(kinds.SERVICE, bare(RENDERED[kinds.SERVICE]))
    store = new_store()
    await apply_all(cluster, EVERYTHING, store)
    api.objects.delete(kinds.SERVICE, key_of(kinds.SERVICE))

    assert await apply_all(cluster, EVERYTHING, store) == []

    live = api.objects.find(kinds.SERVICE, key_of(kinds.SERVICE))
    assert live is not None
    assert live["metadata"]["ownerReferences"][0]["uid"] == EVERYTHING.uid
