"""`kubectl msd lint` finds every mistake in resource files, without a cluster."""

from pathlib import Path

import yaml
from click.testing import CliRunner, Result

from mistral_operator.plugin.commands import msd
from mistral_operator.plugin.completion import candidates
from operator_commands import document


def run(*arguments: str, text: str = "") -> Result:
    """Run a command."""
    return CliRunner().invoke(msd, arguments, input=text)


def file_with(directory: Path, name: str, *documents: object) -> str:
    """Return the path of a file with documents."""
    path = directory / name
    path.write_text(yaml.safe_dump_all(documents))
    return str(path)


def test_lint_accepts_valid_files(tmp_path: Path) -> None:
    files = [
        file_with(tmp_path, "a.yaml", document(), {"kind": "ConfigMap"}),
        file_with(tmp_path, "b.yaml", document(metadata={"name": "other"})),
    ]

    result = run("lint", *files)

    assert (result.exit_code, result.stdout) == (0, "2 resources are valid\n")


def test_lint_names_every_mistake_of_every_file(tmp_path: Path) -> None:
    first = file_with(
        tmp_path,
        "a.yaml",
        document(spec={"engin": {}}),
        document(metadata={"name": "other"}, spec={"replicas": -1}),
    )
    second = file_with(tmp_path, "b.yaml", {"kind": "ConfigMap"})

    result = run("lint", first, second)

    assert result.exit_code == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"{first}: small: spec.engin: unknown field")
    assert lines[1].startswith(f"{first}: other: spec.replicas")
    assert lines[2].startswith(f"{second} contains no MistralSmallDeployment")
    assert len(lines) == 3


def test_lint_reads_standard_input() -> None:
    assert run("lint", "-", text=yaml.safe_dump(document())).stdout == "1 resource is valid\n"


def test_names_of_files_are_left_to_the_shell() -> None:
    assert candidates(["lint", ""]) == [":0"]
