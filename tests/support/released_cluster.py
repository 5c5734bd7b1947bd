"""What the last release left in a cluster, for an operator of today to take over."""

import json

from cluster_namespace import Object
from mistral_dev.cluster import Cluster
from mistral_operator.kube import names
from object_versions import objects, settled_versions
from released_templates import Released, released

UPGRADED = {"example-quickstart", "example-system-prompt", "guarded", "cpu", "tuned", "suspended"}
"""Golden cases of the release with every kind of pod between them."""


def upgraded() -> list[Released]:
    """Return what is taken over."""
    return [one for one in released() if one.name in UPGRADED]


def leave_behind(cluster: Cluster, left: list[Released]) -> dict[str, Object]:
    """Bring about what the last release left; return the Deployments by namespace."""
    create(cluster, [one.namespace_object() for one in left])
    create(cluster, [one.resource() for one in left])
    uids = {
        one["metadata"]["namespace"]: one["metadata"]["uid"] for one in resources(cluster, left)
    }
    create(cluster, [one.deployment(uids[one.namespace]) for one in left])
    settled_versions(cluster, [one.namespace for one in left])
    return deployments(cluster, left)


def create(cluster: Cluster, bodies: list[Object]) -> None:
    """Apply objects in the name of the operator."""
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
    manager = f"--field-manager={names.FIELD_MANAGER}"
    cluster.kubectl("apply", "--server-side", manager, "-f", "-", text=document)


def resources(cluster: Cluster, left: list[Released]) -> list[Object]:
    """Return the resources."""
    return objects(cluster, [one.namespace for one in left], "msd")


def deployments(cluster: Cluster, left: list[Released]) -> dict[str, Object]:
    """Return the Deployments by namespace."""
    live = objects(cluster, [one.namespace for one in left], "deployment")
    return {one["metadata"]["namespace"]: one for one in live}


def replica_sets(cluster: Cluster, namespace: str) -> list[Object]:
    """Return the ReplicaSets of a namespace: one for each template that there was."""
    return objects(cluster, [namespace], "replicaset")


def all_reported(cluster: Cluster, left: list[Released]) -> bool:
    """Tell whether the operator has reported on every resource."""
    return all(one.get("status", {}).get("conditions") for one in resources(cluster, left))
