"""CustomResourceDefinitions: stand-ins for foreign ones, and waiting until the API serves them."""

import json
from typing import Any

from mistral_dev.cluster import Cluster
from mistral_dev.commands import wait_until

Object = dict[str, Any]


def stand_in(
    kind: str, group: str = "monitoring.coreos.com", version: str = "v1"
) -> dict[str, Any]:
    """Return a stand-in for a CRD of the Prometheus operator, or of KEDA: it takes anything."""
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in for tests"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [served],
        },
    }


def until_established(cluster: Cluster, seconds: float = 30) -> None:
    """Wait for every definition of a cluster.

    `kubectl wait` gives up at once on a definition that has no status yet.
    """

    def established() -> bool:
        definitions = json.loads(cluster.kubectl("get", "crd", "-o", "json"))["items"]
        return all(_is_established(one) for one in definitions)

    wait_until(established, "every definition to be established", seconds)


def _is_established(definition: Object) -> bool:
    # A fresh one has `conditions: null`.
    conditions = definition.get("status", {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
