"""Claims that cannot be bound: named at once with their Event, and corrected by an edit."""

import time

import pytest

from cluster_namespace import Namespace, Object, resource
from mistral_operator.kube.names import cache_claim

CACHE = cache_claim("small")
AT_ONCE_SECONDS = 10.0
"""The controller of claims needs some seconds for its first Event."""


def claim(name: str, **spec: str) -> Object:
    """Return a claim of a user."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            **spec,
        },
    }


def of_model(name: str) -> Object:
    """Return the spec of an endpoint with its model in a claim."""
    return {"model": {"source": {"persistentVolumeClaim": {"claimName": name}}}}


def with_files(name: str) -> Object:
    """Return the spec of an endpoint with another claim."""
    return {"pod": {"volumes": [{"name": "files", "persistentVolumeClaim": {"claimName": name}}]}}


BINDS_NEVER: dict[str, tuple[list[Object], Object, list[str]]] = {
    "cache without a default class": (
        [],
        {"cache": {}},
        [
            f"PersistentVolumeClaim {CACHE} is not bound: no StorageClass is the default of the",
            "set spec.cache.storageClassName",
            "Kubernetes reports: FailedBinding: no persistent volumes available",
        ],
    ),
    "cache of a class that does not exist": (
        [],
        {"cache": {"storageClassName": "gone"}},
        [
            f"PersistentVolumeClaim {CACHE} is not bound: StorageClass gone does not exist",
            "correct spec.cache.storageClassName",
            'Kubernetes reports: ProvisioningFailed: storageclass.storage.k8s.io "gone" not found',
        ],
    ),
    "model in a claim without a default class": (
        [claim("weights")],
        of_model("weights"),
        [
            "PersistentVolumeClaim weights is not bound: no StorageClass is the default",
            "replace the claim by one that names a class",
            "Kubernetes reports: FailedBinding: no persistent volumes available",
            "Its name is in spec.model.source.persistentVolumeClaim.claimName",
        ],
    ),
    "model in a claim of a class that does not exist": (
        [claim("weights", storageClassName="gone")],
        of_model("weights"),
        ["weights is not bound: StorageClass gone does not exist", "ProvisioningFailed"],
    ),
    "model in a claim without a volume": (
        [claim("weights", storageClassName="")],
        of_model("weights"),
        ["weights is not bound: Kubernetes reports: FailedBinding"],
    ),
    "files in a claim of a class that does not exist": (
        [claim("files", storageClassName="gone")],
        with_files("files"),
        ["files is not bound: StorageClass gone does not exist", "spec.pod.volumes"],
    ),
}


@pytest.mark.parametrize(("claims", "spec", "parts"), BINDS_NEVER.values(), ids=BINDS_NEVER)
def test_a_claim_that_cannot_be_bound_is_named_at_once(
    served: Namespace, claims: list[Object], spec: Object, parts: list[str]
) -> None:
    if claims:
        served.apply(*claims)
    started = time.monotonic()
    served.apply(resource("small", spec))

    served.wait_for_reason("small", "ClaimPending")
    served.until(
        lambda: all(part in served.condition("small")["message"] for part in parts),
        f"{parts} in {served.condition('small')['message']}",
        AT_ONCE_SECONDS,
    )

    assert time.monotonic() - started < 2 * AT_ONCE_SECONDS
    assert served.condition("small", "Degraded")["status"] == "True"


def test_a_claim_that_was_never_bound_is_replaced_by_an_edit(served: Namespace) -> None:
    served.apply(resource("small", {"cache": {"accessMode": "ReadWriteMany"}}))
    served.wait_for_reason("small", "ClaimPending")
    before = served.wait_for("pvc", CACHE)["metadata"]["uid"]
    served.apply(volume(served.name, "manual"))

    served.apply(resource("small", {"cache": {"storageClassName": served.name}}))

    served.wait_for_reason("small", "Ready")
    served.wait_for_reason("small", "Bound", "CacheBound")
    after = served.wait_for("pvc", CACHE)
    assert after["metadata"]["uid"] != before
    assert after["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_an_endpoint_starts_once_its_claim_has_a_volume(served: Namespace) -> None:
    served.apply(claim("weights", storageClassName=served.name))
    served.apply(resource("small", of_model("weights")))
    served.wait_for_reason("small", "ClaimPending")

    served.apply(volume(served.name, "weights"))

    served.wait_for_reason("small", "Ready")


def volume(storage_class: str, name: str) -> Object:
    """Return a volume of a class that exists in name only."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{storage_class}-{name}"},
        "spec": {
            "capacity": {"storage": "100Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "hostPath": {"path": "/nonexistent"},
        },
    }
