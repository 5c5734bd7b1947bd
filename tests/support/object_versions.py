"""Versions of all objects of some namespaces, to see that nothing writes any of them."""

import json
import time
from collections.abc import Sequence

import pytest

from cluster_namespace import Object
from mistral_dev.cluster import Cluster

KINDS = (
    *("msd", "deployment", "replicaset", "pod", "service", "endpointslice", "serviceaccount"),
    *("poddisruptionbudget", "networkpolicy", "persistentvolumeclaim", "configmap", "secret"),
    *("resourcequota", "limitrange"),
)
"""What an example consists of and leads to; Events are new ones each time."""

QUIET_SECONDS = 2.0
"""Longer than the pauses between the steps of a rollout on fake nodes."""
SETTLE_SECONDS = 90.0

Versions = dict[str, str]
"""Resource versions by namespace, kind and name."""


def objects(cluster: Cluster, namespaces: Sequence[str], *kinds: str) -> list[Object]:
    """Return the objects of some namespaces."""
    selected = ",".join(kinds or KINDS)
    answer = cluster.kubectl("get", selected, "--all-namespaces", "-o", "json")
    items: list[Object] = json.loads(answer)["items"]
    return [one for one in items if one["metadata"]["namespace"] in namespaces]


def versions(cluster: Cluster, namespaces: Sequence[str]) -> Versions:
    """Return the version of each object."""
    return {
        f"{one['metadata']['namespace']}: {one['kind']} {one['metadata']['name']}": (
            one["metadata"]["resourceVersion"]
        )
        for one in objects(cluster, namespaces)
    }


def settled_versions(cluster: Cluster, namespaces: Sequence[str]) -> Versions:
    """Return the versions as soon as nothing is written any more."""
    deadline = time.monotonic() + SETTLE_SECONDS
    before = versions(cluster, namespaces)
    while True:
        time.sleep(QUIET_SECONDS)
        after = versions(cluster, namespaces)
        if after == before:
            return after
        if time.monotonic() > deadline:
            written = sorted(key for key in after if after[key] != before.get(key))
            pytest.fail(f"these are written all the time: {written}")
        before = after
