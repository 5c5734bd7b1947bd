"""Cluster and namespace can be named before a command, as with kubectl, or after it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from builders import NAME, NAMESPACE, NOW
from mistral_operator.plugin.commands import msd
from mistral_operator.plugin.completion import candidates
from plugin_cluster import healthy, serving
from plugin_commands import kubeconfig


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["-n", NAMESPACE], []),
        ([f"--namespace={NAMESPACE}"], ["-o", "json"]),
        (["-n", "other"], ["-n", NAMESPACE]),
    ],
    ids=["short", "long", "the one after the command counts"],
)
def test_a_namespace_before_the_command_is_used(
    before: list[str], after: list[str], tmp_path: Path
) -> None:
    with kubeconfig(serving(healthy(NOW)), tmp_path) as path:
        arguments = ("--kubeconfig", str(path), *before, "status", NAME, *after, "-o", "json")
        result = CliRunner().invoke(msd, arguments)

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["namespace"] == NAMESPACE


@pytest.mark.parametrize("after", [[], ["-n", NAMESPACE]], ids=["before", "after"])
def test_names_are_completed_with_options_on_either_side(after: list[str], tmp_path: Path) -> None:
    before = [] if after else ["-n", NAMESPACE]

    with kubeconfig(serving(healthy(NOW)), tmp_path) as path:
        lines = candidates(["--kubeconfig", str(path), *before, "status", *after, ""])

    assert lines == [NAME, ":4"]


def test_a_context_before_the_command_is_used(tmp_path: Path) -> None:
    with kubeconfig(serving(healthy(NOW)), tmp_path) as path:
        result = CliRunner().invoke(
            msd, ["--kubeconfig", str(path), "--context", "other", "status", NAME]
        )

    assert result.exit_code == 1
    assert "name other" in result.stderr
