"""The store keeps what decisions need of each kind, and nothing else."""

import copy

from builders import NAME, deployment_body, node_body, pod_body, ready_pod, resource_body
from mistral_operator.kube import kinds, names
from mistral_operator.watch.store import Store
from store_objects import OTHER, OWNER


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
