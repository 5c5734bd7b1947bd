"""Benchmarks: measured side by side in one run, printed as tables, never part of `make test`."""

from collections.abc import Iterator

import pytest

from bench.control_planes import StartCluster, control_planes


@pytest.fixture
def start_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartCluster]:
    """Start control planes that have fake nodes for a fleet of 1,000 and our CRD."""
    with control_planes(lambda: tmp_path_factory.mktemp("bench")) as start:
        yield start
