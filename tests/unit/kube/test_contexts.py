"""Which kubeconfig, context and namespace a user's command takes."""

from pathlib import Path

import pytest
import yaml

from mistral_operator.kube.credentials import kubeconfig_of_user, namespace_of_context
from mistral_operator.kube.errors import CannotStart


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the path of a kubeconfig with two contexts."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    path = tmp_path / "config"
    contexts = [
        {"name": "plain", "context": {"cluster": "a", "user": "a"}},
        {"name": "models", "context": {"cluster": "a", "user": "a", "namespace": "models"}},
    ]
    document = {
        "current-context": "plain",
        "contexts": contexts,
        "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "a", "user": {}}],
    }
    path.write_text(yaml.safe_dump(document))
    return str(path)


@pytest.mark.parametrize(
    ("context", "namespace"), [(None, "default"), ("plain", "default"), ("models", "models")]
)
def test_the_namespace_is_that_of_the_context(
    config: str, context: str | None, namespace: str
) -> None:
    assert namespace_of_context(config, context) == namespace


def test_an_unknown_context_is_an_error(config: str) -> None:
    with pytest.raises(CannotStart, match=r"cannot be used: .*name other"):
        namespace_of_context(config, "other")


def test_the_kubeconfig_is_the_one_of_kubectl(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", config)

    assert kubeconfig_of_user(None) == config
    assert kubeconfig_of_user("other") == "other"


def test_a_pod_without_a_kubeconfig_uses_its_service_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))

    assert kubeconfig_of_user(None) is None
    assert namespace_of_context(None, None) == "default"
