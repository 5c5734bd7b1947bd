"""`kubectl msd lint` finds every mistake in resource files, without a cluster."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import yaml
from click.testing import CliRunner, Result

import mistral_operator
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


def authorities(**pod: object) -> dict[str, object]:
    """Return the spec of an endpoint that fetches with a token, and sets parts of its pods."""
    hub = {"tokenSecret": {"name": "hub"}}
    return {"model": {"source": {"hub": hub}}, "pod": pod}


def test_lint_rejects_what_no_installation_can_allow() -> None:
    spec = authorities(env=[{"name": "SSL_CERT_FILE", "value": "/ca.pem"}])

    result = run("lint", "-", text=yaml.safe_dump(document(spec=spec)))

    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("<stdin>: spec.pod.env: SSL_CERT_FILE chooses which servers get")


def test_lint_notes_what_an_administrator_has_to_allow() -> None:
    spec = authorities(serviceAccountName="gpu-users", env=[{"name": "EDITOR", "value": "vi"}])

    result = run("lint", "-", text=yaml.safe_dump(document(spec=spec)))

    assert (result.exit_code, result.stdout) == (0, "1 resource is valid\n")
    assert [line.partition(": ")[2].split(": ")[2] for line in result.stderr.splitlines()] == [
        "spec.pod.env[0].name",
        "spec.pod.serviceAccountName",
    ]


def rejecting() -> Iterator[tuple[str, str]]:
    """Yield the file and the name of each function of the operator that rejects a resource."""
    root = Path(mistral_operator.__file__).parent
    for path in root.rglob("*.py"):
        if "InvalidResource(" not in path.read_text():
            continue
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and any(map(_rejects, ast.walk(function))):
                yield str(path), function.name


def _rejects(node: ast.AST) -> bool:
    match node:
        case ast.Raise(exc=ast.Call(func=ast.Name(id="InvalidResource"))):
            return True
    return False


EVERY_CHECK = {
    "name": "small",
    "namespace": "models",
    "labels": {"a": "b"},
    "annotations": {"a": "b"},
    "finalizers": ["a.example/b"],
    "creationTimestamp": "2026-03-01T12:00:00Z",
    "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}],
}
"""Metadata that every check of it looks at."""


def test_lint_runs_every_check_that_the_operator_runs() -> None:
    text, called = yaml.safe_dump(document(metadata=EVERY_CHECK)), set[tuple[str, str]]()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            called.add((frame.f_code.co_filename, frame.f_code.co_name))

    sys.setprofile(note)
    try:
        result = run("lint", "-", text=text)
    finally:
        sys.setprofile(None)

    assert result.exit_code == 0, result.stderr
    assert len(set(rejecting())) > 10
    assert sorted(set(rejecting()) - called) == []
