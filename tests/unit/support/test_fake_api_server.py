"""The fake API server behaves as the real one does, wherever the operator relies on it.

Each behavior was seen on a real API server: `tests/cluster` shows it through the operator.
"""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from builders import CONTEXT, NAME, NAMESPACE, Object, merged, resource
from fake_api_server import FakeApiServer, Request
from fake_objects import ApiError
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError, NamespaceTerminating, Occupied, Unavailable
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Key
from mistral_operator.render import children
from mistral_operator.watch.index import version_of

KEY = Key(NAMESPACE, NAME)
OURS: dict[Kind, Object] = {
    kinds.kind_of(child["apiVersion"], child["kind"]): child
    for child in children(resource(), CONTEXT)
}
DEPLOYMENT, SERVICE = OURS[kinds.DEPLOYMENT], OURS[kinds.SERVICE]


@pytest.fixture
def api() -> FakeApiServer:
    """Return an API server with nothing in it."""
    return FakeApiServer()


@pytest_asyncio.fixture
async def cluster(api: FakeApiServer) -> AsyncIterator[Cluster]:
    """Return a connection to that API server."""
    async with api.cluster() as made:
        yield made


def edit(api: FakeApiServer, kind: Kind, changes: Object) -> None:
    """Edit an object of ours as another owner."""
    api.objects.update(kind, KEY, lambda live: merged(live, changes))


def with_ports(*ports: Object) -> Object:
    """Return the changes that give a Service other ports."""
    return {"spec": {"ports": list(ports)}}


# --- Server-side apply ----------------------------------------------------------------------------


async def test_an_apply_creates_an_object_and_the_same_again_changes_nothing(
    cluster: Cluster,
) -> None:
    first = await cluster.apply(DEPLOYMENT, force=False)
    second = await cluster.apply(DEPLOYMENT, force=False)

    assert first == second
    assert first["metadata"]["generation"] == 1
    assert first["metadata"]["uid"]
    assert first["metadata"]["managedFields"][0]["manager"] == "mistral-small-operator"
    assert first["spec"]["revisionHistoryLimit"] == 3, "a default is no more than that"


async def test_an_apply_with_a_version_creates_and_never_changes(cluster: Cluster) -> None:
    created = await cluster.create(DEPLOYMENT)

    with pytest.raises(Occupied, match="the object has been modified"):
        await cluster.create(DEPLOYMENT)

    assert await cluster.apply(DEPLOYMENT, force=False) == created


async def test_an_apply_holds_any_character(cluster: Cluster) -> None:
    note = {"metadata": {"annotations": {"note": "é 漢字 \U0001f6ab \x7f\x85\u2028"}}}

    result = await cluster.apply(merged(SERVICE, note), force=False)

    assert result["metadata"]["annotations"]["note"] == note["metadata"]["annotations"]["note"]


async def test_escaped_surrogates_are_not_yaml(api: FakeApiServer) -> None:
    path = kinds.SERVICE.path(NAMESPACE, NAME)
    request = Request("PATCH", path, {}, "application/apply-patch+yaml")

    with pytest.raises(ApiError, match="invalid Unicode character escape code"):
        await api.answer(request, json.dumps({"note": "\U0001f6ab"}))


CONFLICTS: dict[str, tuple[Kind, Object, list[str]]] = {
    "a number": (kinds.DEPLOYMENT, {"spec": {"replicas": 7}}, [".spec.replicas"]),
    "a selector as a whole": (
        kinds.SERVICE,
        {"spec": {"selector": {"app": "mine"}}},
        [".spec.selector"],
    ),
    "a field of an item": (
        kinds.SERVICE,
        with_ports({**SERVICE["spec"]["ports"][0], "targetPort": 80}),
        ['.spec.ports[port=8000,protocol="TCP"].targetPort'],
    ),
    "a list without keys": (
        kinds.NETWORK_POLICY,
        {"spec": {"ingress": [{}]}},
        [".spec.ingress"],
    ),
    "two fields": (
        kinds.DEPLOYMENT,
        {"spec": {"replicas": 7, "revisionHistoryLimit": 1}},
        [".spec.replicas", ".spec.revisionHistoryLimit"],
    ),
}


@pytest.mark.parametrize(("kind", "changes", "fields"), CONFLICTS.values(), ids=CONFLICTS)
async def test_a_field_of_another_owner_is_changed_by_force_only(
    cluster: Cluster, api: FakeApiServer, kind: Kind, changes: Object, fields: list[str]
) -> None:
    before = await cluster.apply(OURS[kind], force=False)
    edit(api, kind, changes)

    with pytest.raises(ClusterError) as caught:
        await cluster.apply(OURS[kind], force=False)

    assert caught.value.status == 409
    assert caught.value.reason.startswith(f"Apply failed with {len(fields)} conflict")
    for field in fields:
        conflict = f'conflict with "kubectl-edit" using {kind.api_version}: {field}'
        assert conflict in caught.value.reason
    after = await cluster.apply(OURS[kind], force=True)
    assert after["spec"] == before["spec"]
    assert await cluster.apply(OURS[kind], force=False) == after, "it is ours again"


async def test_the_same_value_is_no_conflict_and_both_own_it(
    cluster: Cluster, api: FakeApiServer
) -> None:
    theirs = {**DEPLOYMENT, "metadata": {"name": NAME, "namespace": NAMESPACE}}
    api.objects.create(kinds.DEPLOYMENT, theirs)

    live = await cluster.apply(DEPLOYMENT, force=False)

    assert {one["manager"] for one in live["metadata"]["managedFields"]} == {
        "kubectl-create",
        "mistral-small-operator",
    }
    fewer = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": 1}}
    del fewer["spec"]["progressDeadlineSeconds"]
    assert "progressDeadlineSeconds" in (await cluster.apply(fewer, force=False))["spec"]


async def test_a_field_that_is_no_longer_applied_goes_unless_another_owner_set_it(
    cluster: Cluster, api: FakeApiServer
) -> None:
    pod = {"spec": {"template": {"spec": {"runtimeClassName": "nvidia", "priority": 5}}}}
    await cluster.apply(merged(DEPLOYMENT, pod), force=False)
    edit(api, kinds.DEPLOYMENT, {"spec": {"template": {"spec": {"priority": 6}}}})

    live = await cluster.apply(DEPLOYMENT, force=True)

    assert "runtimeClassName" not in live["spec"]["template"]["spec"]
    assert live["spec"]["template"]["spec"]["priority"] == 6


async def test_an_item_of_a_list_goes_with_its_applier_and_a_foreign_one_stays(
    cluster: Cluster, api: FakeApiServer
) -> None:
    (ours,) = SERVICE["spec"]["ports"]
    second, foreign = {**ours, "name": "more", "port": 1}, {"name": "foreign", "port": 2}
    await cluster.apply(
        {**SERVICE, "spec": {**SERVICE["spec"], "ports": [ours, second]}}, force=True
    )
    edit(api, kinds.SERVICE, with_ports(ours, second, foreign))

    live = await cluster.apply(SERVICE, force=True)

    assert [one["name"] for one in live["spec"]["ports"]] == ["http", "foreign"]


async def test_an_edited_key_is_another_item_and_names_may_not_occur_twice(
    cluster: Cluster, api: FakeApiServer
) -> None:
    await cluster.apply(SERVICE, force=False)
    edit(api, kinds.SERVICE, with_ports({**SERVICE["spec"]["ports"][0], "port": 9000}))

    with pytest.raises(ClusterError, match="Duplicate value") as caught:
        await cluster.apply(SERVICE, force=True)

    assert caught.value.status == 422


async def test_an_apply_with_the_same_item_twice_is_no_object(cluster: Cluster) -> None:
    pod = {"hostAliases": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1", "hostnames": ["a"]}]}
    twice = merged(DEPLOYMENT, {"spec": {"template": {"spec": pod}}})

    with pytest.raises(ClusterError, match="hostAliases: duplicate entries for key"):
        await cluster.apply(twice, force=False)


async def test_the_selector_of_a_deployment_cannot_be_changed(cluster: Cluster) -> None:
    await cluster.apply(DEPLOYMENT, force=False)
    other = merged(DEPLOYMENT, {"spec": {"selector": {"matchLabels": {"app": "other"}}}})

    with pytest.raises(ClusterError, match="field is immutable"):
        await cluster.apply(other, force=True)


async def test_a_namespace_that_is_being_deleted_takes_nothing_new(
    cluster: Cluster, api: FakeApiServer
) -> None:
    await cluster.apply(SERVICE, force=False)
    api.objects.terminating_namespaces.add(NAMESPACE)

    await cluster.apply(SERVICE, force=True)
    with pytest.raises(NamespaceTerminating):
        await cluster.apply(DEPLOYMENT, force=False)


# --- Generations, status, versions ----------------------------------------------------------------

GENERATIONS: dict[str, tuple[Object, int]] = {
    "a spec counts": ({"spec": {"replicas": 2}}, 2),
    "an annotation of a Deployment counts": ({"metadata": {"annotations": {"a": "b"}}}, 2),
    "a label does not": ({"metadata": {"labels": {"a": "b"}}}, 1),
    "a status at the address of the rest is left out": ({"status": {"replicas": 1}}, 1),
}


@pytest.mark.parametrize(("changes", "generation"), GENERATIONS.values(), ids=GENERATIONS)
async def test_the_generation_counts_changes_of_the_spec(
    cluster: Cluster, api: FakeApiServer, changes: Object, generation: int
) -> None:
    before = await cluster.apply(DEPLOYMENT, force=False)
    edit(api, kinds.DEPLOYMENT, changes)

    live = await cluster.get(kinds.DEPLOYMENT, *KEY)

    assert live is not None
    assert live["metadata"]["generation"] == generation
    assert (live["metadata"]["resourceVersion"] > before["metadata"]["resourceVersion"]) is (
        "status" not in changes
    )
    assert "status" not in live


def create_resource(api: FakeApiServer, spec: Object | None = None) -> Object:
    """Create the resource that the children belong to."""
    return api.objects.create(
        kinds.RESOURCE, {"metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": spec or {}}
    )


async def test_a_status_is_written_at_its_own_address_and_changes_no_generation(
    cluster: Cluster, api: FakeApiServer
) -> None:
    with pytest.raises(ClusterError) as caught:
        await cluster.apply_status(NAME, NAMESPACE, 7, {"replicas": 1})
    assert caught.value.status == 404
    version = version_of(create_resource(api))

    live = await cluster.apply_status(
        NAME, NAMESPACE, version, {"replicas": 1, "oom": {"streak": 2}}
    )
    assert live["status"] == {"replicas": 1, "oom": {"streak": 2}}
    live = await cluster.apply_status(NAME, NAMESPACE, version_of(live), {"replicas": 1})

    assert live["status"] == {"replicas": 1}
    assert live["metadata"]["generation"] == 1


async def test_a_field_of_the_status_that_another_owner_set_stays(
    cluster: Cluster, api: FakeApiServer
) -> None:
    create_resource(api)
    edited = api.objects.update(
        kinds.RESOURCE, KEY, lambda live: {**live, "status": {"url": "mine"}}, status=True
    )

    live = await cluster.apply_status(NAME, NAMESPACE, version_of(edited), {"replicas": 1})

    assert live["status"] == {"url": "mine", "replicas": 1}


async def test_a_list_holds_what_is_selected_and_its_version(
    cluster: Cluster, api: FakeApiServer
) -> None:
    live = await cluster.apply(SERVICE, force=False)
    api.objects.create(
        kinds.SERVICE,
        {"metadata": {"name": "foreign", "namespace": NAMESPACE}, "spec": {"ports": []}},
    )

    async def listed(namespace: str | None, selector: str | None) -> list[str]:
        pages = cluster.list_pages(kinds.SERVICE, namespace, selector)
        result = [page async for page in pages]
        assert all(version == api.objects.version for _, version in result)
        assert all("kind" not in one for page, _ in result for one in page)
        return [one["metadata"]["name"] for page, _ in result for one in page]

    assert await listed(None, kinds.SELECTOR) == [NAME]
    assert await listed(None, None) == ["foreign", NAME]
    assert await listed("elsewhere", None) == []
    assert int(live["metadata"]["resourceVersion"]) < api.objects.version


# --- JSON Patch -----------------------------------------------------------------------------------

PATCHES: dict[str, tuple[Object, Callable[[Object], Any], Any]] = {
    "replace": (
        {"op": "replace", "path": "/spec/ports/0/port", "value": 80},
        lambda live: live["spec"]["ports"][0]["port"],
        80,
    ),
    "add": (
        {"op": "add", "path": "/metadata/annotations/a~1b", "value": "c"},
        lambda live: live["metadata"]["annotations"]["a/b"],
        "c",
    ),
    "add an item": (
        {"op": "add", "path": "/spec/ports/0", "value": {"name": "new", "port": 1}},
        lambda live: [one["name"] for one in live["spec"]["ports"]],
        ["new", "http"],
    ),
    "remove": (
        {"op": "remove", "path": "/spec/selector"},
        lambda live: live["spec"].get("selector"),
        None,
    ),
}


@pytest.mark.parametrize(("operation", "read", "value"), PATCHES.values(), ids=PATCHES)
async def test_a_patch_changes_one_place(
    cluster: Cluster, operation: Object, read: Callable[[Object], Any], value: Any
) -> None:
    live = await cluster.apply(SERVICE, force=False)
    version = live["metadata"]["resourceVersion"]
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}

    live = await cluster.patch(kinds.SERVICE, *KEY, [test, operation])

    assert read(live) == value


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "1"},
        {"op": "replace", "path": "/spec/nothing", "value": 1},
        {"op": "replace", "path": "/spec/ports/9", "value": {}},
    ],
    ids=["a test", "a field", "an item"],
)
async def test_a_patch_that_does_not_fit_is_refused(cluster: Cluster, operation: Object) -> None:
    await cluster.apply(SERVICE, force=False)

    with pytest.raises(ClusterError) as caught:
        await cluster.patch(kinds.SERVICE, *KEY, [operation])

    assert caught.value.status == 422


# --- Deletions, Events, discovery -----------------------------------------------------------------


async def test_an_object_is_deleted_by_its_uid_only(cluster: Cluster, api: FakeApiServer) -> None:
    live = await cluster.apply(SERVICE, force=False)

    with pytest.raises(ApiError) as caught:
        api.objects.delete(kinds.SERVICE, KEY, "another")
    assert caught.value.status == 409
    await cluster.delete(kinds.SERVICE, *KEY, uid="another")
    assert await cluster.get(kinds.SERVICE, *KEY) is not None

    await cluster.delete(kinds.SERVICE, *KEY, uid=live["metadata"]["uid"])
    assert await cluster.get(kinds.SERVICE, *KEY) is None
    await cluster.delete(kinds.SERVICE, *KEY, uid=live["metadata"]["uid"])


async def test_an_object_with_a_finalizer_goes_when_that_does(
    cluster: Cluster, api: FakeApiServer
) -> None:
    live = await cluster.apply(SERVICE, force=False)
    edit(api, kinds.SERVICE, {"metadata": {"finalizers": ["example.com/wait"]}})

    await cluster.delete(kinds.SERVICE, *KEY, uid=live["metadata"]["uid"])
    body = await cluster.get(kinds.SERVICE, *KEY)
    assert body is not None
    assert "deletionTimestamp" in body["metadata"]

    edit(api, kinds.SERVICE, {"metadata": {"finalizers": []}})
    assert await cluster.get(kinds.SERVICE, *KEY) is None


async def test_the_feed_tells_of_every_change_in_order(
    cluster: Cluster, api: FakeApiServer
) -> None:
    live = await cluster.apply(SERVICE, force=False)
    edit(api, kinds.SERVICE, {"metadata": {"labels": {"a": "b"}}})
    await cluster.delete(kinds.SERVICE, *KEY, uid=live["metadata"]["uid"])

    assert [one.action for one in api.objects.feed] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(one.body["metadata"]["resourceVersion"]) for one in api.objects.feed]
    assert versions == sorted(set(versions))


async def test_an_event_of_a_known_name_is_a_conflict(cluster: Cluster) -> None:
    event = {"metadata": {"name": "small.1", "namespace": NAMESPACE}, "reason": "Ready"}
    await cluster.post_event(NAMESPACE, event)

    with pytest.raises(ClusterError) as caught:
        await cluster.post_event(NAMESPACE, event)

    assert caught.value.status == 409


async def test_only_installed_kinds_are_known(cluster: Cluster, api: FakeApiServer) -> None:
    assert await cluster.reachable()
    assert await cluster.serves(kinds.DEPLOYMENT)
    assert not await cluster.serves(kinds.POD_MONITOR)

    api.optional_kinds = (kinds.POD_MONITOR,)
    assert await cluster.serves(kinds.POD_MONITOR)


async def test_what_the_operator_never_asks_is_a_fault_of_the_test(cluster: Cluster) -> None:
    with pytest.raises(ClusterError) as caught:
        await cluster.request("PUT", kinds.SERVICE.path(*KEY), body=SERVICE)

    assert caught.value.status == 405


# --- Objects of an expected uid -------------------------------------------------------------------


async def test_an_apply_of_a_uid_changes_no_other_object(
    cluster: Cluster, api: FakeApiServer
) -> None:
    live = await cluster.apply(SERVICE, force=False)
    same = await cluster.apply(SERVICE, force=True, uid=live["metadata"]["uid"])

    with pytest.raises(ClusterError) as caught:
        await cluster.apply(SERVICE, force=True, uid="another")

    assert same == live == api.objects.get(kinds.SERVICE, KEY)
    assert caught.value.status == 422
    assert "metadata.uid: Invalid value" in caught.value.reason
    assert "field is immutable" in caught.value.reason


async def test_an_apply_of_a_uid_creates_nothing(cluster: Cluster, api: FakeApiServer) -> None:
    with pytest.raises(Unavailable) as caught:
        await cluster.apply(SERVICE, force=True, uid="gone")

    assert caught.value.status == 409
    assert "uid mismatch" in caught.value.reason
    assert api.objects.find(kinds.SERVICE, KEY) is None


async def test_a_status_is_written_to_one_version_of_a_resource(
    cluster: Cluster, api: FakeApiServer
) -> None:
    version = version_of(create_resource(api))
    edit(api, kinds.RESOURCE, {"spec": {"replicas": 2}})

    with pytest.raises(Unavailable) as caught:
        await cluster.apply_status(NAME, NAMESPACE, version, {"replicas": 1})

    assert caught.value.status == 409
    assert "the object has been modified" in caught.value.reason
    assert "status" not in api.objects.get(kinds.RESOURCE, KEY)


async def test_an_object_has_one_controller(cluster: Cluster) -> None:
    await cluster.apply(SERVICE, force=False)
    (owner,) = SERVICE["metadata"]["ownerReferences"]
    of_another = merged(SERVICE, {"metadata": {"ownerReferences": [{**owner, "uid": "another"}]}})
    references = {**of_another["metadata"], "ownerReferences": [{**owner, "uid": "another"}, owner]}

    with pytest.raises(ClusterError) as caught:
        await cluster.apply({**of_another, "metadata": references}, force=True)

    assert caught.value.status == 422
    assert "Only one reference can have Controller set to true" in caught.value.reason
