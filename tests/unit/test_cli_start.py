"""A process that cannot start says why in one line: settings, kubeconfig, port."""

import gc
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from operator_commands import document, run

PROCESSES = {"run": "MISTRAL_OPERATOR", "activate": "MISTRAL_ACTIVATOR"}


@pytest.fixture(autouse=True)
def outside_of_a_pod(
    root_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Start outside of a cluster, and restore what a process sets up."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a kubeconfig that does not exist yet."""
    path = tmp_path / "config"
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


def error_of(*command: str, documents: tuple[object, ...] = ()) -> str:
    """Return the line that a failing command prints."""
    result = run(*command, documents=documents)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.parametrize(("command", "prefix"), PROCESSES.items())
def test_an_invalid_setting_is_named(
    command: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{prefix}_LOG_LEVEL", "foo")

    assert error_of(command) == (
        f"Error: {prefix}_LOG_LEVEL='foo' is not valid: it must be one of DEBUG, INFO, WARNING,"
        " ERROR, CRITICAL"
    )


def test_render_names_an_invalid_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_OPERATOR_CONCURRENCY", "0")

    line = error_of("render", "-f", "-", documents=(document(),))

    assert line.startswith("Error: MISTRAL_OPERATOR_CONCURRENCY='0' is not valid")


@pytest.mark.parametrize("command", PROCESSES)
def test_a_missing_kubeconfig_is_named(command: str, kubeconfig: Path) -> None:
    assert error_of(command) == (
        f"Error: the kubeconfig {kubeconfig} does not exist: set KUBECONFIG to the path of one, or"
        " start this process in a pod"
    )


UNUSABLE = {
    "empty": "",
    "not YAML": "a: [",
    "another document": "- a\n- b\n",
    "no context": "{clusters: [], contexts: [], users: []}",
    "a context that is not defined": "{current-context: a, clusters: [], contexts: [], users: []}",
}


@pytest.mark.parametrize("text", UNUSABLE.values(), ids=UNUSABLE)
@pytest.mark.parametrize("command", PROCESSES)
def test_a_kubeconfig_that_cannot_be_used_is_named(
    command: str, text: str, kubeconfig: Path
) -> None:
    kubeconfig.write_text(text)

    assert error_of(command).startswith(f"Error: the kubeconfig {kubeconfig} cannot be used: ")


@pytest.mark.parametrize("command", PROCESSES)
def test_a_pod_without_a_token_is_told_so(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")

    line = error_of(command)

    assert line.startswith("Error: the service account of the pod cannot be used: Service token")


@pytest.mark.parametrize(("command", "prefix"), PROCESSES.items())
def test_a_port_in_use_is_named(
    command: str, prefix: str, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig.write_text(
        "{current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}],"
        " clusters: [{name: a, cluster: {server: 'http://127.0.0.1:9'}}],"
        " users: [{name: a, user: {}}]}"
    )
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        monkeypatch.setenv(f"{prefix}_PORT", port)

        line = error_of(command)

    assert line.startswith(f"Error: port {port} cannot be opened: ")
    assert "MISTRAL_OPERATOR_PORT, MISTRAL_ACTIVATOR_PORT or" in line
