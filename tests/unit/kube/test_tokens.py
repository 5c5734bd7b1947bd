"""A token that cannot be read at some moment is an outage, as an API server that is away is."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

from api_server import ApiServer, live_object
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import Unavailable

TOKENS: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_text(""),
    "not UTF-8": lambda file: file.write_bytes(b"\xff"),
    "of two lines": lambda file: file.write_text("to\nken"),
    "deleted": lambda file: file.unlink(),
}


class ServiceAccount:
    """The service account of a pod, whose token is read before each request."""

    def __init__(self, folder: Path, url: str) -> None:
        self.token, certificate = folder / "token", folder / "ca.crt"
        self.token.write_text("token")
        certificate.write_text("certificate")
        host = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
        loader = InClusterConfigLoader(self.token, certificate, environ=host)
        self.configuration = Configuration()
        loader.load_and_set(self.configuration)
        loader.host, loader.ssl_ca_cert = url, None
        loader._set_config(self.configuration)
        refresh = self.configuration.refresh_api_key_hook

        def hook(configuration: Configuration) -> None:
            loader.token_expires_at = datetime.min
            refresh(configuration)
            configuration.refresh_api_key_hook = hook  # the loader sets its own each time

        self.configuration.refresh_api_key_hook = hook


@pytest.mark.parametrize("spoil", TOKENS.values(), ids=TOKENS)
async def test_a_token_that_cannot_be_used_now_is_an_outage(
    spoil: Callable[[Path], object], cluster: Cluster, api: ApiServer, tmp_path: Path
) -> None:
    mounted = ServiceAccount(tmp_path, cluster.client.configuration.host)
    async with Cluster(ApiClient(mounted.configuration)) as connection:
        api.answer = live_object(name="b")
        assert await connection.get(kinds.POD, "a", "b")
        spoil(mounted.token)

        with pytest.raises(Unavailable) as raised:
            await connection.get(kinds.POD, "a", "b")
        assert raised.value.status == 0
        with pytest.raises(Unavailable):
            await connection.watch(kinds.POD, None, None, 1, lambda *_: None)
        assert not connection.availability.reachable

        mounted.token.write_text("token")
        assert await connection.get(kinds.POD, "a", "b")
