"""Children come, come back, and go with their resource."""

import json

import pytest

from cluster_namespace import Namespace, resource
from mistral_operator.kube.names import cache_claim

CHILDREN = ["deployment", "service", "serviceaccount", "poddisruptionbudget", "networkpolicy"]


@pytest.fixture
def endpoint(served: Namespace) -> Namespace:
    """Return a namespace with an endpoint called `small` that is ready."""
    served.apply(resource("small"))
    served.wait_for_reason("small", "Ready")
    return served


def test_an_empty_spec_becomes_a_ready_endpoint(endpoint: Namespace) -> None:
    body = endpoint.get("msd", "small")

    assert body is not None
    status = body["status"]
    assert status["readyReplicas"] == 1
    assert status["url"] == f"http://small.{endpoint.name}.svc:8000/v1"
    assert status["observedGeneration"] == body["metadata"]["generation"]
    assert all(endpoint.get(kind, "small") for kind in CHILDREN)
    assert "finalizers" not in body["metadata"]
    assert not any("kopf" in key for key in body["metadata"].get("annotations", {}))


NO_WAIT = "--wait=false"
"""kubectl may miss that an object is gone which comes back under its name at once."""


@pytest.mark.parametrize("kind", CHILDREN)
def test_a_deleted_child_comes_back(endpoint: Namespace, kind: str) -> None:
    before = endpoint.wait_for(kind, "small")["metadata"]["uid"]

    endpoint.kubectl("delete", kind, "small", NO_WAIT)

    endpoint.until(
        lambda: (
            (endpoint.get(kind, "small") or {}).get("metadata", {}).get("uid", before) != before
        ),
        f"a new {kind}",
    )


def test_a_deleted_cache_claim_comes_back(served: Namespace) -> None:
    served.apply(resource("small", {"replicas": 0, "cache": {"size": "1Gi"}}))
    name = cache_claim("small")
    before = served.wait_for("pvc", name)["metadata"]["uid"]

    served.kubectl("delete", "pvc", name, NO_WAIT)

    served.until(
        lambda: (served.get("pvc", name) or {}).get("metadata", {}).get("uid", before) != before,
        "a new claim",
    )


EDITS = {
    "replicas of the Deployment": ("deployment", "/spec/replicas", 3),
    "image": ("deployment", "/spec/template/spec/containers/0/image", "evil:1"),
    "arguments": ("deployment", "/spec/template/spec/containers/0/args", ["sh"]),
    "an environment variable": (
        "deployment",
        "/spec/template/spec/containers/0/env/0/value",
        "{}",
    ),
    "rights": (
        "deployment",
        "/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem",
        False,
    ),
    "the node's network": ("deployment", "/spec/template/spec/hostNetwork", True),
    "root": ("deployment", "/spec/template/spec/containers/0/securityContext/runAsUser", 0),
    "selector of the Service": ("service", "/spec/selector", {"app": "other"}),
    "port of the Service": ("service", "/spec/ports/0/port", 9000),
    "NetworkPolicy": ("networkpolicy", "/spec/ingress", [{}]),
    "PodDisruptionBudget": ("poddisruptionbudget", "/spec/maxUnavailable", 5),
    "token of the ServiceAccount": ("serviceaccount", "/automountServiceAccountToken", True),
    "labels": ("service", "/metadata/labels/app.kubernetes.io~1managed-by", "me"),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edited_child_is_repaired(endpoint: Namespace, what: str) -> None:
    kind, path, value = EDITS[what]
    before = endpoint.wait_for(kind, "small")
    patch = f'[{{"op":"add","path":"{path}","value":{json.dumps(value)}}}]'

    endpoint.kubectl("patch", kind, "small", "--type=json", f"--patch={patch}")

    endpoint.until(
        lambda: _content(endpoint.get(kind, "small")) == _content(before), f"{kind} as before"
    )


def test_a_field_that_is_not_wanted_any_more_disappears(endpoint: Namespace) -> None:
    spec = {"pod": {"runtimeClassName": "nvidia"}}
    endpoint.apply(resource("small", spec))
    path = "{.spec.template.spec.runtimeClassName}"
    endpoint.until(lambda: _read(endpoint, path) == "nvidia", "the class")

    endpoint.apply(resource("small"))

    endpoint.until(lambda: _read(endpoint, path) == "", "no class")


def test_a_child_that_is_not_wanted_any_more_is_deleted_except_a_claim(served: Namespace) -> None:
    served.apply(resource("small", {"replicas": 0, "cache": {"size": "1Gi"}}))
    served.wait_for("pvc", cache_claim("small"))

    served.apply(resource("small", {"replicas": 0, "networkPolicy": False}))

    served.until(lambda: served.get("networkpolicy", "small") is None, "no policy")
    assert served.get("pvc", cache_claim("small")), "a claim holds data and stays"


def test_a_bound_claim_stays_as_it_is_and_may_outlive_its_resource(served: Namespace) -> None:
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": served.name},
        "spec": {
            "capacity": {"storage": "100Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": served.name,
            "hostPath": {"path": "/nonexistent"},
        },
    }
    served.apply(volume)
    cache = {"storageClassName": served.name, "whenDeleted": "Retain"}
    served.apply(resource("small", {"replicas": 0, "cache": cache}))
    name = cache_claim("small")
    served.until(
        lambda: (served.get("pvc", name) or {}).get("status", {}).get("phase") == "Bound",
        "a volume",
    )
    uid = served.wait_for("pvc", name)["metadata"]["uid"]

    served.apply(
        resource("small", {"replicas": 0, "cache": cache | {"accessMode": "ReadWriteMany"}})
    )
    message = served.wait_for_reason("small", "ClaimDiffers")["message"]
    assert "cannot change from ReadWriteOnce to ReadWriteMany" in message

    served.kubectl("delete", "msd", "small")
    served.until(lambda: served.get("service", "small") is None, "no Service")
    served.apply(resource("small", {"replicas": 0, "cache": cache}))
    served.wait_for_reason("small", "ScaledToZero")
    assert served.wait_for("pvc", name)["metadata"]["uid"] == uid


def test_children_go_with_their_resource(endpoint: Namespace) -> None:
    endpoint.kubectl("delete", "msd", "small")

    endpoint.until(lambda: not any(endpoint.get(kind, "small") for kind in CHILDREN), "no children")


def test_a_resource_made_anew_under_its_old_name_gets_children_of_its_own(
    endpoint: Namespace,
) -> None:
    old = endpoint.wait_for("service", "small")["metadata"]["uid"]

    endpoint.kubectl("delete", "msd", "small", "--wait=false")
    endpoint.apply(resource("small"))

    endpoint.wait_for_reason("small", "Ready")
    assert endpoint.wait_for("service", "small")["metadata"]["uid"] != old


def _read(namespace: Namespace, path: str) -> str:
    return namespace.kubectl("get", "deployment", "small", f"-o=jsonpath={path}")


def _content(body: dict[str, object] | None) -> object:
    """Return what of an object is content: without counters, owners of fields and status."""
    if body is None:
        return None
    metadata = body["metadata"]
    assert isinstance(metadata, dict)
    kept = {key: metadata.get(key) for key in ("labels", "ownerReferences", "uid")}
    rest = {key: value for key, value in body.items() if key not in {"metadata", "status"}}
    return kept, rest
