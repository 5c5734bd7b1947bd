"""Benchmarks: measured side by side in one run, printed as tables, never part of `make test`."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from mistral_dev.cluster import Cluster
from mistral_dev.settings import Profile
from mistral_operator.api.crd import custom_resource_definition, to_yaml
from resource_definitions import until_established

StartCluster = Callable[[], Cluster]


@pytest.fixture
def start_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartCluster]:
    """Start control planes that have fake nodes for a fleet of 1,000 and our CRD."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def start() -> Cluster:
            stack.close()  # one at a time: they would share two cores
            name = f"bench-{next(numbers)}"
            directory = tmp_path_factory.mktemp("bench") / name
            cluster = Cluster(name, Profile.CONTROL_PLANE, state_dir=directory, audit=True)
            stack.enter_context(cluster)
            cluster.add_fake_nodes(300)
            cluster.kubectl("apply", "-f", "-", text=to_yaml(custom_resource_definition()))
            until_established(cluster)
            return cluster

        yield start
