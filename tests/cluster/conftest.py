"""A real API server with its controllers, and fake nodes that say that pods run. No kubelet."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster_namespace import Namespace
from mistral_dev.cluster import Cluster
from mistral_dev.resource_definitions import until_established
from mistral_dev.settings import Profile
from mistral_operator.api.crd import custom_resource_definition
from mistral_operator.api.yaml_documents import to_yaml
from operator_process import OperatorProcess, running_operator
from talking_pods import TalkingPods

_numbers = itertools.count()


@contextmanager
def control_plane(directory: Path) -> Iterator[Cluster]:
    """Start a control plane with two fake nodes of 8 GPUs each, and our CRD."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    with Cluster(name, Profile.CONTROL_PLANE, state_dir=directory / name, audit=True) as made:
        made.add_fake_nodes(2)
        made.kubectl("apply", "-f", "-", text=to_yaml(custom_resource_definition()))
        until_established(made)
        yield made


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return the cluster that the shared operator serves."""
    with control_plane(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return a cluster without an operator, for tests that start and stop their own."""
    with control_plane(tmp_path_factory.mktemp("own-cluster")) as made:
        yield made


@pytest.fixture(scope="session")
def shared_operator(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """Return an operator that no test may stop."""
    log = tmp_path_factory.mktemp("operator") / "log"
    with running_operator(cluster, log) as operator:
        yield operator
        assert "Traceback" not in log.read_text(), log.read_text()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """Return a fresh namespace."""
    with fresh_namespace(cluster) as made:
        yield made


@pytest.fixture
def served(namespace: Namespace, shared_operator: OperatorProcess) -> Namespace:
    """Return a fresh namespace that the shared operator serves."""
    assert shared_operator.process is not None
    return namespace


@pytest.fixture
def unserved(own_cluster: Cluster) -> Iterator[Namespace]:
    """Return a fresh namespace of a cluster in which no operator runs."""
    with fresh_namespace(own_cluster) as made:
        yield made


@contextmanager
def fresh_namespace(cluster: Cluster) -> Iterator[Namespace]:
    """Make a namespace and delete it at the end of the block."""
    name = f"ns-{next(_numbers)}"
    cluster.kubectl("create", "namespace", name)
    yield Namespace(cluster, name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return the log file of an operator that a test starts itself."""
    return tmp_path / "operator.log"


@pytest.fixture
def operator_settings() -> dict[str, str]:
    """Return what else the fixture `operator` is told; for modules to say."""
    return {}


@pytest.fixture
def operator(
    unserved: Namespace, log: Path, operator_settings: dict[str, str]
) -> Iterator[OperatorProcess]:
    """Return an operator that looks at its pods every second."""
    settings = {"SIGNAL_SECONDS": "1", "AUTOSCALING_SECONDS": "1", **operator_settings}
    with running_operator(unserved.cluster, log, **settings) as started:
        yield started
        assert "Traceback" not in log.read_text(), log.read_text()


@pytest.fixture
def pods(unserved: Namespace, operator: OperatorProcess) -> Iterator[TalkingPods]:
    """Give the pods of the namespace a voice, for that operator to hear."""
    assert operator.process is not None
    with TalkingPods(unserved).talking() as made:
        yield made
