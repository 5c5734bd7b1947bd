"""Waits until the API server serves what a CustomResourceDefinition defines."""

import json
from typing import Any

from mistral_dev.cluster import Cluster
from mistral_dev.commands import wait_until


def until_established(cluster: Cluster, seconds: float = 30) -> None:
    """Wait for every definition of a cluster.

    `kubectl wait` gives up at once on a definition whose status nobody has written yet.
    """

    def established() -> bool:
        found = json.loads(cluster.kubectl("get", "crd", "-o", "json"))["items"]
        return all(_is_established(one) for one in found)

    wait_until(established, "every definition to be established", seconds)


def _is_established(definition: dict[str, Any]) -> bool:
    # A fresh one has `conditions: null`.
    conditions = definition.get("status", {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
