"""The command line without a cluster: render, crd, and the messages for mistakes."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from mistral_operator.api.crd import custom_resource_definition
from mistral_operator.cli import main
from mistral_operator.kube.names import API_VERSION, KIND
from operator_commands import H100, document, rendered, run


def test_render_prints_every_child_as_a_document_of_its_own() -> None:
    objects = rendered(run("render", "-f", "-", documents=(document(),)))

    assert [one["kind"] for one in objects] == [
        "ServiceAccount",
        "NetworkPolicy",
        "Service",
        "PodDisruptionBudget",
        "Deployment",
    ]
    assert {one["metadata"]["namespace"] for one in objects} == {"default"}


def test_render_uses_the_configured_image_and_namespace() -> None:
    metadata = {"name": "small", "namespace": "models"}
    options = ("--server-image", "server:9", "--pod-monitor")
    objects = rendered(run("render", "-f", "-", *options, documents=(document(metadata=metadata),)))

    (deployment,) = [one for one in objects if one["kind"] == "Deployment"]
    assert deployment["metadata"]["namespace"] == "models"
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "server:9"
    assert objects[-1]["kind"] == "PodMonitor"


def test_render_reads_the_resources_of_a_file_and_skips_other_kinds(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    others = ({"apiVersion": "v1", "kind": "ConfigMap"}, None, "text")
    second = document(metadata={"name": "second"})
    file.write_text(yaml.safe_dump_all((*others, document(), second)))

    objects = rendered(run("render", "--file", str(file)))

    assert {one["metadata"]["name"] for one in objects} == {"small", "second"}


def listed(*items: Any, kind: str = "List") -> dict[str, Any]:
    """Return a list of objects, as `kubectl get -o yaml` prints it."""
    return {"apiVersion": "v1", "kind": kind, "items": list(items)}


def resource_text(spec: str) -> str:
    """Return a resource as text, with its spec as it is written."""
    return (
        f"{{apiVersion: {API_VERSION}, kind: {KIND}, metadata: {{name: small}}, spec: {{{spec}}}}}"
    )


ACCEPTED = {
    "replicas: 1e3": 1000,
    "replicas: 2.0": 2,
    "replicas: 0x10": 16,
}


@pytest.mark.parametrize(("spec", "replicas"), ACCEPTED.items(), ids=ACCEPTED)
def test_a_number_is_accepted_as_kubectl_reads_it(spec: str, replicas: int) -> None:
    objects = rendered(run("render", "-f", "-", text=resource_text(spec)))

    (deployment,) = [one for one in objects if one["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == replicas


MISTAKES: dict[str, tuple[str, str]] = {
    "no YAML": ("a: [", "is not YAML"),
    "a number of thousands of digits": ("a: 1" + "0" * 5000, f"contains no {KIND}"),
    "a day that does not exist": ("a: 2026-02-30", f"contains no {KIND}"),
    "a list that contains itself": ("a: &l [*l]", "an alias contains itself"),
    "a tag that its value contradicts": ("a: !!bool x", "'x' is not of the type !!bool"),
    "a key that is set twice": ("{a: 1, a: 2}", "the key a is set twice"),
    "a number that YAML 1.1 writes in sixties": (resource_text("replicas: 1:30"), "spec.replicas"),
    "a number for the revision": (
        resource_text("model: {revision: 1e5}"),
        "spec.model.revision",
    ),
    "lists without an end": ("[" * 10_000, "is not YAML: it is nested too deeply"),
    "nothing": ("", f"contains no {KIND}: set apiVersion: {API_VERSION} and kind: {KIND}"),
    "another kind": (yaml.safe_dump(document(kind="Deployment")), f"contains no {KIND}"),
    "another version": (
        yaml.safe_dump(document(apiVersion="inference.mistral-small.io/v1")),
        f"apiVersion inference.mistral-small.io/v1 is not supported: use {API_VERSION}",
    ),
    "no version": (
        yaml.safe_dump({"kind": KIND, "metadata": {"name": "a"}}),
        f"apiVersion is not set: use {API_VERSION}",
    ),
    "no name": (yaml.safe_dump(document(metadata={})), "metadata.name is not set: add one"),
    "no metadata": (yaml.safe_dump(document(metadata=None)), "metadata.name is not set: add one"),
    "metadata that is text": (
        yaml.safe_dump(document(metadata="small")),
        "metadata: must be an object",
    ),
    "no spec": (
        yaml.safe_dump({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "a"}}),
        "spec is not set: write `spec: {}` for the recommended deployment",
    ),
    "a spec of nothing": (yaml.safe_dump(document(spec=None)), "spec is not set"),
    "a wrong type": (
        yaml.safe_dump(document(spec={"replicas": "many"})),
        "spec.replicas: must be an integer",
    ),
    "a memory of hundreds of digits": (
        yaml.safe_dump(document(spec={"pod": {"gpu": {"memory": "1" + "0" * 400 + "Gi"}}})),
        "spec.pod.gpu.memory: must have at most 32 characters",
    ),
    "a memory that no machine has": (
        yaml.safe_dump(document(spec={"engine": {"kvCache": {"memory": "48Pi"}}})),
        "spec.engine.kvCache.memory: 48Pi is more than 1Pi: check the unit, such as 48Gi",
    ),
    "a refused argument": (
        yaml.safe_dump(document(spec={"engine": {"extraArgs": ["--middleware=x"]}})),
        "spec.engine.extraArgs allows only arguments that tune speed or memory",
    ),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize(
    "command", [("render",), ("fit", "--gpu-memory", H100)], ids=lambda c: c[0]
)
def test_a_mistake_is_reported_in_one_sentence(
    command: tuple[str, ...], text: str, message: str
) -> None:
    result = run(*command, "-f", "-", text=text)

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert result.stdout == ""


BAD = {"replicas": -1}

SEVERAL: dict[str, tuple[tuple[Any, ...], str]] = {
    "by its name": (
        (document(), document(metadata={"name": "second"}, spec=BAD)),
        "Error: second: spec.replicas: ",
    ),
    "by its number where it has no name": (
        (document(), {"kind": "ConfigMap"}, document(metadata={}, spec=BAD)),
        "Error: document 3: metadata.name is not set",
    ),
    "by its place in a list": (
        (listed(document(), document(metadata={"name": 5})),),
        "Error: document 1, items[1]: metadata.name: ",
    ),
    "not where it is alone": (({"kind": "ConfigMap"}, document(spec=BAD)), "Error: spec.replicas"),
}


@pytest.mark.parametrize(("documents", "start"), SEVERAL.values(), ids=SEVERAL)
def test_a_message_names_its_document_if_there_are_several(
    documents: tuple[Any, ...], start: str
) -> None:
    result = run("render", "-f", "-", documents=documents)

    assert result.exit_code == 1
    assert result.stderr.startswith(start)


@pytest.mark.parametrize("kind", ["List", f"{KIND}List"])
def test_the_items_of_a_list_are_rendered(kind: str) -> None:
    others = {"apiVersion": "v1", "kind": "ConfigMap"}
    both = listed(document(), others, document(metadata={"name": "second"}), kind=kind)

    objects = rendered(run("render", "-f", "-", documents=(both,)))

    assert {one["metadata"]["name"] for one in objects} == {"small", "second"}


def test_items_that_are_no_list_are_rejected() -> None:
    result = run("render", "-f", "-", documents=({**listed(), "items": "x"},))

    assert result.stderr == "Error: document 1: items must be a list\n"


@pytest.mark.parametrize("command", [("render",), ("fit", "--gpu-memory", H100)])
@pytest.mark.parametrize("source", ["a file", "standard input"])
def test_a_file_that_is_not_utf_8_is_rejected(
    command: tuple[str, ...], source: str, tmp_path: Path
) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes("kind: Größe".encode("latin-1"))
    name = str(file) if source == "a file" else "-"

    result = CliRunner().invoke(main, (*command, "-f", name), input=file.read_bytes())

    assert result.exit_code == 1
    assert "is not UTF-8" in result.stderr
    assert result.stderr.count("\n") == 1


def test_crd_prints_the_definition() -> None:
    assert rendered(run("crd")) == [custom_resource_definition()]


def test_crd_writes_a_file(tmp_path: Path) -> None:
    file = tmp_path / "crd.yaml"

    result = run("crd", "-o", str(file))

    assert result.output == ""
    assert file.read_text() == run("crd").stdout


def test_crd_reports_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    result = run("crd", "-o", str(tmp_path / "missing" / "crd.yaml"))

    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"Error: {tmp_path}/missing/crd.yaml cannot be written: No such"
    )


def test_a_file_that_does_not_exist_is_named() -> None:
    result = run("render", "-f", "missing.yaml")

    assert result.exit_code == 2
    assert "missing.yaml" in result.stderr


@pytest.mark.parametrize("command", ["run", "render", "fit", "crd"])
def test_every_command_has_help(command: str) -> None:
    result = run(command, "-h")

    assert result.exit_code == 0
    assert command in run("--help").stdout


@pytest.mark.parametrize(
    ("command", "variable"),
    [
        ("run", "MISTRAL_OPERATOR_SERVER_IMAGE\n        Server image for resources that do not"),
        ("activate", "MISTRAL_ACTIVATOR_DRAIN_SECONDS\n        Time that running requests have"),
    ],
)
def test_the_help_of_a_process_lists_its_variables(command: str, variable: str) -> None:
    assert variable in run(command, "--help").stdout


def test_render_without_an_option_uses_the_image_of_the_chart() -> None:
    objects = rendered(run("render", "-f", "-", documents=(document(),)))

    (deployment,) = [one for one in objects if one["kind"] == "Deployment"]
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.startswith("ghcr.io/mistral-small-operator/server:")


def test_render_refuses_what_every_installation_does() -> None:
    spec = {
        "model": {"source": {"hub": {"tokenSecret": {"name": "hub"}}}},
        "pod": {"env": [{"name": "SSL_CERT_FILE", "value": "/mnt/ca/ca.crt"}]},
    }

    result = run("render", "-f", "-", documents=(document(), document(spec=spec)))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: small: spec.pod.env: SSL_CERT_FILE chooses")


NOTES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, []),
    "a type and an account": (
        {"service": {"type": "LoadBalancer"}, "pod": {"serviceAccountName": "gpu-users"}},
        [
            "Note: the installation has to allow this of small: spec.pod.serviceAccountName: ",
            "Note: the installation has to allow this of small: spec.service.type: this",
        ],
    ),
    "a small cache": (
        {"cache": {"size": "20Gi"}},
        ["Note: spec.cache.size of small is 20Gi, and the model takes 48 GB"],
    ),
    "a small cache of an unknown model": (
        {"cache": {"size": "20Gi"}, "model": {"id": "a/b", "revision": "main"}},
        [],
    ),
}


@pytest.mark.parametrize(("spec", "notes"), NOTES.values(), ids=NOTES)
def test_render_says_what_to_look_after_beside_the_objects(
    spec: dict[str, Any], notes: list[str]
) -> None:
    result = run("render", "-f", "-", documents=(document(spec=spec),))

    assert rendered(result)
    lines = result.stderr.splitlines()
    assert len(lines) == len(notes)
    assert all(line.startswith(note) for line, note in zip(lines, notes, strict=True))


def test_render_knows_what_the_installation_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_OPERATOR_ALLOWED_SERVICE_TYPES", "LoadBalancer")

    result = run(
        "render", "-f", "-", documents=(document(spec={"service": {"type": "LoadBalancer"}}),)
    )

    assert rendered(result)
    assert result.stderr == ""
