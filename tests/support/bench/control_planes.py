"""Control planes for a fleet of 1,000 resources, one at a time."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mistral_dev.cluster import Cluster
from mistral_dev.resource_definitions import until_established
from mistral_dev.settings import Profile
from mistral_operator.api.crd import custom_resource_definition
from mistral_operator.api.yaml_documents import to_yaml

StartCluster = Callable[[], Cluster]


@contextmanager
def control_planes(directory: Callable[[], Path]) -> Iterator[StartCluster]:
    """Return a function that starts a control plane with fake nodes and our CRD.

    Args:
        directory: returns a new directory for the state of each cluster.
    """
    numbers = itertools.count()
    with ExitStack() as stack:

        def start() -> Cluster:
            stack.close()  # one at a time: they would share two cores
            name = f"bench-{next(numbers)}"
            cluster = Cluster(name, Profile.CONTROL_PLANE, state_dir=directory() / name, audit=True)
            stack.enter_context(cluster)
            cluster.add_fake_nodes(300)
            cluster.kubectl("apply", "-f", "-", text=to_yaml(custom_resource_definition()))
            until_established(cluster)
            return cluster

        yield start
