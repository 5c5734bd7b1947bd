"""Objects of other owners stay as they are, whatever their kind, on the real API server."""

from typing import Any

import pytest

from cluster_namespace import Namespace, resource

THEIRS: dict[str, dict[str, Any]] = {
    "serviceaccount": {"apiVersion": "v1", "kind": "ServiceAccount"},
    "service": {
        "apiVersion": "v1",
        "kind": "Service",
        "spec": {"ports": [{"name": "db", "port": 5432}]},
    },
    "poddisruptionbudget": {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": {}},
    "networkpolicy": {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "spec": {"podSelector": {}},
    },
    "deployment": {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "theirs"}},
            "template": {
                "metadata": {"labels": {"app": "theirs"}},
                "spec": {"containers": [{"name": "app", "image": "theirs:1"}]},
            },
        },
    },
}
"""Objects without a field that an apply of ours conflicts with, where the kind allows it."""


@pytest.mark.parametrize("kind", THEIRS)
def test_a_foreign_object_is_neither_changed_nor_deleted(served: Namespace, kind: str) -> None:
    served.apply({**THEIRS[kind], "metadata": {"name": "taken"}})
    before = served.wait_for(kind, "taken")

    served.apply(resource("taken"))

    condition = served.wait_for_reason("taken", "NameTaken")
    assert f"{before['kind']} taken exists" in condition["message"]
    served.kubectl("delete", "msd", "taken", "--wait=true")
    after = served.wait_for(kind, "taken")
    assert after.get("spec") == before.get("spec")
    for field in ("uid", "labels", "ownerReferences"):
        assert after["metadata"].get(field) == before["metadata"].get(field)


def test_a_name_that_becomes_free_is_used(served: Namespace) -> None:
    served.apply({**THEIRS["service"], "metadata": {"name": "taken"}})
    served.wait_for("service", "taken")
    served.apply(resource("taken"))
    served.wait_for_reason("taken", "NameTaken")

    served.kubectl("delete", "service", "taken")

    served.wait_for_reason("taken", "Ready")
