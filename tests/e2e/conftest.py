"""The whole product on a real node: kubelet, containerd, our chart, our images, the real vLLM."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster_namespace import Namespace
from mistral_dev.cluster import Cluster
from mistral_dev.installation import EXAMPLE, Installation
from mistral_dev.prepare import everything
from mistral_dev.progress import Progress
from mistral_dev.settings import Profile
from steady_outcomes import HEADER

_ROW = "row of the table of rollouts"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what clients saw of rollouts."""
    rows = [
        str(value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for key, value in getattr(report, "user_properties", ())
        if key == _ROW and report.when == "call"
    ]
    if rows:
        terminalreporter.section("rollouts")
        terminalreporter.write_line("\n".join([HEADER, *rows]))


@pytest.fixture
def table(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return a function that adds a row to the table of rollouts."""
    return lambda row: record_property(_ROW, row)


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Return an operator in a node cluster with four pretended GPUs."""
    prepared = everything(Progress())
    name = f"e2e-{os.getpid()}"
    directory: Path = tmp_path_factory.mktemp("e2e") / name
    with Cluster(name, Profile.NODE, state_dir=directory) as cluster:
        cluster.patch_gpus(4)
        made = Installation(cluster, prepared)
        made.install("signalSeconds=2", "autoscalingSeconds=3")
        yield made


@pytest.fixture(scope="session")
def strict(installation: Installation) -> Namespace:
    """Return a namespace that enforces the restricted Pod Security Standard."""
    installation.make_namespace("strict")
    return Namespace(installation.cluster, "strict")


@pytest.fixture(scope="session")
def endpoint(strict: Namespace) -> Namespace:
    """Return the namespace with the example endpoint `tiny`, ready."""
    strict.kubectl("apply", "-f", str(EXAMPLE))
    strict.wait_until_ready("tiny")
    return strict
