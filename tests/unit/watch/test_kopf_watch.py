"""Kopf reaches the API server as every other connection of the operator does."""

import json
from pathlib import Path

import pytest

from mistral_operator.kube.credentials import load_configuration
from mistral_operator.watch import kopf_watch
from mistral_operator.watch.kopf_watch import kopf_settings, login

ENVIRONMENTS: dict[str, dict[str, str]] = {
    "no proxy": {},
    "a proxy": {"HTTPS_PROXY": "http://proxy:3128"},
    "a proxy for other hosts": {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "10.0.0.1"},
    "a proxy for HTTP": {"HTTP_PROXY": "http://proxy:3128"},
}
CLUSTERS = {
    "a kubeconfig": {"server": "https://10.0.0.1:6443"},
    "a kubeconfig with a proxy": {
        "server": "https://10.0.0.1:6443",
        "proxy-url": "http://other:3128",
    },
}


@pytest.fixture(params=ENVIRONMENTS.values(), ids=[*ENVIRONMENTS])
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set the proxies of the environment; return them."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    proxies: dict[str, str] = request.param
    for name, value in proxies.items():
        monkeypatch.setenv(name, value)
    return proxies


@pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS)
async def test_kopf_uses_the_proxy_of_all_other_connections(
    cluster: dict[str, str],
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    path = tmp_path / "kubeconfig"
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(json.dumps(document))
    monkeypatch.setenv("KUBECONFIG", str(path))

    info = login(settings=kopf_settings({}))

    assert info is not None
    assert info.proxy_url == (await load_configuration(1, str(path))).proxy
    assert (info.proxy_url is not None) == ("proxy-url" in cluster or _is_used(environment))


def test_kopf_uses_the_proxy_in_a_pod(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("t")
    monkeypatch.setattr(kopf_watch, "_SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")

    info = login(settings=kopf_settings({}))

    assert info is not None
    assert info.server == "https://10.0.0.1:443"
    assert info.proxy_url == ("http://proxy:3128" if _is_used(environment) else None)


def _is_used(environment: dict[str, str]) -> bool:
    return "HTTPS_PROXY" in environment and "NO_PROXY" not in environment
