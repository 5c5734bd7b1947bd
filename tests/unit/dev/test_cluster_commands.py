"""The commands for a shell beside a local cluster; nothing is started here."""

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mistral_dev.cluster import Cluster
from mistral_dev.cluster_commands import cluster
from mistral_dev.errors import UsageError


@pytest.fixture(autouse=True)
def without_clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the user without a cluster."""
    monkeypatch.setenv("MISTRAL_DEV_CACHE", str(tmp_path))


@pytest.mark.parametrize("command", [["env"], ["run", "--", "kubectl", "get", "msd"]])
def test_a_cluster_that_does_not_run_is_named_with_what_starts_it(command: list[str]) -> None:
    result = CliRunner().invoke(cluster, [command[0], "--name", "demo", *command[1:]])

    assert isinstance(result.exception, UsageError)
    assert "cluster demo does not run" in str(result.exception)
    assert "mistral_dev cluster up --name demo" in str(result.exception)


def test_the_shell_finds_the_plugin_of_the_checkout() -> None:
    search_path = Cluster("demo").environment()["PATH"].split(os.pathsep)

    assert str(Path(sys.executable).parent) in search_path
