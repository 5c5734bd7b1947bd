"""Waits until the API server serves what a CustomResourceDefinition defines."""

from mistral_dev.cluster import Cluster
from mistral_dev.commands import wait_until

_STATUSES = "jsonpath={range .items[*]}{.status.conditions[?(@.type=='Established')].status} {end}"
_NAMES = "jsonpath={range .items[*]}{.metadata.name} {end}"


def until_established(cluster: Cluster, seconds: float = 30) -> None:
    """Wait for every definition of a cluster.

    `kubectl wait` gives up at once on a definition whose status nobody has written yet.
    """

    def established() -> bool:
        statuses = cluster.kubectl("get", "crd", "-o", _STATUSES).split()
        names = cluster.kubectl("get", "crd", "-o", _NAMES).split()
        return statuses == ["True"] * len(names)

    wait_until(established, "every definition to be established", seconds)
