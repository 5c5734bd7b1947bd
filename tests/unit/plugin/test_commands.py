"""The commands of `kubectl msd` that need no cluster, completion, and errors in one line."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from mistral_operator.plugin.commands import msd
from mistral_operator.plugin.completion import candidates


def run(*arguments: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(msd, arguments)


@pytest.fixture(autouse=True)
def without_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the user without a kubeconfig."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))


COMMANDS = sorted(msd.commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = run(command, "-h")

    assert result.exit_code == 0
    assert command in run("--help").stdout


def arguments_of(command: str) -> list[str]:
    """Return what a command needs beside its name."""
    needed = {one.name for one in msd.commands[command].params if one.required}
    return ["small"] * ("name" in needed) + ["--output", "file"] * ("output" in needed)


WITHOUT_CLUSTER = {"lint", "sleep", "wake"}


@pytest.mark.parametrize("command", sorted({*COMMANDS} - WITHOUT_CLUSTER))
def test_a_missing_kubeconfig_is_said_in_one_line(command: str, tmp_path: Path) -> None:
    result = run(command, *arguments_of(command))

    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: the kubeconfig {tmp_path / 'config'} does not exist")


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("sleep", ("spec.autoscaling.minReplicas is 0", "`kubectl msd suspend small -n models`")),
        (
            "wake",
            ("`kubectl msd chat small hello -n models`", "`kubectl msd resume small -n models`"),
        ),
    ],
)
def test_what_the_operator_does_itself_is_explained(command: str, parts: tuple[str, str]) -> None:
    result = run(command, "small", "-n", "models")

    (line,) = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (1, "")
    assert line.startswith("Error: nothing was changed: ")
    assert [one for one in parts if one not in line] == []


def test_an_unknown_context_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        yaml.safe_dump(
            {
                "current-context": "a",
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
                "users": [{"name": "a", "user": {}}],
            }
        )
    )

    result = run("status", "small", "--context", "other")

    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: the kubeconfig {tmp_path / 'config'} cannot be used: ")
    assert "name other" in line


def test_commands_are_completed_in_the_format_of_kubectl() -> None:
    lines = candidates(["sta"])

    assert lines[0].startswith("status\tShow why an endpoint is")
    assert lines[-1] == ":4"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_completed_command_has_its_whole_sentence(command: str) -> None:
    first = (msd.commands[command].help or "").split("\n\n")[0]

    assert candidates([command])[0] == f"{command}\t{' '.join(first.split()).removesuffix('.')}"


def test_options_are_completed() -> None:
    assert candidates(["status", "--out"])[0].startswith("--output\t")


def test_names_are_not_completed_without_a_cluster() -> None:
    assert candidates(["status", ""]) == [":4"]
