"""A real activator in front of an endpoint of a cluster whose pods are fake."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from autoscaled_endpoint import replicas, scaled
from cluster_namespace import Namespace, Object
from mistral_dev.commands import run, wait_until
from mistral_dev.network import FAKE_POD_CIDR
from mistral_operator.kube import names
from server_runner import free_port
from talking_pods import TalkingPods

NETWORK = ip_network(FAKE_POD_CIDR, strict=False)
"""Addresses that kwok makes up for pods. A slice takes none of the loopback network."""
ACTIVATOR = str(NETWORK[-2])
SERVICE = "activator"
SETTINGS = {"ACTIVATOR_SERVICE": SERVICE, "NAMESPACE": "default"}
SOON = {
    "scaleUp": {"stabilizationWindowSeconds": 0},
    "scaleDown": {"stabilizationWindowSeconds": 3},
}


def sleeper(**autoscaling: object) -> Object:
    """Return an endpoint of 0 to 4 replicas of 10 requests each."""
    return scaled(**{"minReplicas": 0, "behavior": SOON, **autoscaling})


@contextmanager
def network_of_fake_pods() -> Iterator[None]:
    """Give this machine the addresses of fake pods until the block ends."""
    if os.geteuid() != 0:
        pytest.skip("only root may add a network to the loopback interface")
    run(["ip", "route", "replace", "local", str(NETWORK), "dev", "lo"])
    yield
    run(["ip", "route", "del", "local", str(NETWORK), "dev", "lo"])


@dataclass
class Activator:
    """One `mistral-operator activate`."""

    process: subprocess.Popen[bytes]
    port: int

    def is_ready(self) -> bool:
        """Tell whether it knows the endpoints."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1) as answer:
                return bool(answer.status == 200)
        except (HTTPError, URLError, OSError):
            return False

    def held(self) -> int:
        """Return the requests that wait."""
        with urlopen(f"http://127.0.0.1:{self.port}/signals", timeout=5) as answer:
            return sum(one["held"] for one in json.load(answer)["endpoints"])


@contextmanager
def running_activator(namespace: Namespace, log: Path) -> Iterator[Activator]:
    """Run an activator that the operator finds by its Service."""
    port = free_port()
    environment = {
        **os.environ,
        "KUBECONFIG": str(namespace.cluster.kubeconfig),
        "MISTRAL_ACTIVATOR_PORT": str(port),
        "MISTRAL_ACTIVATOR_NOTICE_SECONDS": "1",
    }
    with log.open("ab") as output:
        command = [sys.executable, "-m", "mistral_operator", "activate"]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    made = Activator(process, port)
    try:
        wait_until(made.is_ready, f"the activator; its log is {log}", 30)
        announce(namespace, [ACTIVATOR], port)
        yield made
    finally:
        announce(namespace, [], port)
        if process.poll() is None:
            process.kill()
            process.wait()
    assert "Traceback" not in log.read_text(), log.read_text()


def announce(namespace: Namespace, addresses: list[str], port: int) -> None:
    """Say what the controllers would say of the activator's Service."""
    endpoint_slice = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": SERVICE,
            "namespace": "default",
            "labels": {names.LABEL_SERVICE: SERVICE},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [one], "conditions": {"ready": True}} for one in addresses],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    }
    namespace.cluster.kubectl("apply", "--server-side", "-f", "-", text=json.dumps(endpoint_slice))


def standing_in(namespace: Namespace) -> list[str]:
    """Return the addresses behind the Service that are the activator's."""
    endpoint_slice = namespace.get("endpointslice", "small-activator") or {}
    return [
        one for endpoint in endpoint_slice.get("endpoints") or () for one in endpoint["addresses"]
    ]


def ask(namespace: Namespace, key: str = "") -> tuple[int, dict[str, Any]]:
    """Send a request to the endpoint where its slice leads, with an API key if there is one."""
    endpoint_slice = namespace.wait_for("endpointslice", "small-activator")
    url = f"http://{ACTIVATOR}:{endpoint_slice['ports'][0]['port']}/v1/chat/completions"
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = Request(url, data=b"{}", headers=headers)
    try:
        with urlopen(request, timeout=60) as answer:  # noqa: S310 - http on this machine
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def until_scaled_to_zero(namespace: Namespace, pods: TalkingPods | None = None) -> None:
    """Wait until no replica is there and the activator answers in its place."""
    namespace.until(lambda: replicas(namespace) == 0, "no replica")
    # The next pod may get the address of the last one, which must not be found there.
    namespace.until(lambda: pods is None or not pods.servers, "silence")
    namespace.wait_for_reason("small", "Asleep")
    assert namespace.condition("small")["status"] == "True"
    assert standing_in(namespace) == [ACTIVATOR]
