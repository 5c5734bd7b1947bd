"""An endpoint without a replica answers: a real activator, a real API server, and fake pods."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from cluster.test_autoscaling import replicas, scaled
from cluster.test_steady import writes
from cluster_namespace import Namespace, Object
from mistral_dev.commands import run, wait_until
from mistral_dev.network import FAKE_POD_CIDR
from mistral_operator.kube import names
from operator_process import OperatorProcess
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


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[None]:
    """Let fake pods be reached."""
    with network_of_fake_pods():
        yield


@pytest.fixture
def operator_settings() -> dict[str, str]:
    """Let the operator find the activators."""
    return SETTINGS


@pytest.fixture
def pods(unserved: Namespace, operator: OperatorProcess) -> Iterator[TalkingPods]:
    """Give the pods of the namespace a voice."""
    assert operator.process is not None
    with TalkingPods(unserved, moved=False).talking() as made:
        yield made


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
    found = {
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
    namespace.cluster.kubectl("apply", "--server-side", "-f", "-", text=json.dumps(found))


@pytest.fixture
def activator(
    unserved: Namespace, operator: OperatorProcess, tmp_path: Path
) -> Iterator[Activator]:
    """Run an activator."""
    assert operator.process is not None
    with running_activator(unserved, tmp_path / "activator.log") as made:
        yield made


def standing_in(namespace: Namespace) -> list[str]:
    """Return the addresses behind the Service that are the activator's."""
    found = namespace.get("endpointslice", "small-activator") or {}
    return [one for endpoint in found.get("endpoints") or () for one in endpoint["addresses"]]


def ask(namespace: Namespace) -> tuple[int, dict[str, Any]]:
    """Send a request to the endpoint where its slice leads."""
    found = namespace.wait_for("endpointslice", "small-activator")
    url = f"http://{ACTIVATOR}:{found['ports'][0]['port']}/v1/chat/completions"
    asked = Request(url, data=b"{}", headers={"Content-Type": "application/json"})
    try:
        with urlopen(asked, timeout=60) as answer:  # noqa: S310 - http on this machine
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def until_asleep(namespace: Namespace, pods: TalkingPods | None = None) -> None:
    """Wait until no replica is there and somebody answers all the same."""
    namespace.until(lambda: replicas(namespace) == 0, "no replica")
    # The next pod may get the address of the last one, which must not be found there.
    namespace.until(lambda: pods is None or not pods.servers, "silence")
    namespace.wait_for_reason("small", "Asleep")
    assert namespace.condition("small")["status"] == "True"
    assert standing_in(namespace) == [ACTIVATOR]


def test_an_idle_endpoint_sleeps_and_the_first_requests_wake_it_and_are_answered(
    unserved: Namespace, pods: TalkingPods, activator: Activator
) -> None:
    assert activator.is_ready()
    unserved.apply(sleeper())
    unserved.wait_for_reason("small", "Ready")
    unserved.until(lambda: standing_in(unserved) == [], "the activator to be out of the way")
    until_asleep(unserved, pods)
    start = unserved.cluster.audit_position()

    with ThreadPoolExecutor() as clients:
        answers = [clients.submit(ask, unserved) for _ in range(15)]
        assert [one.result()[0] for one in answers] == [200] * 15

    assert pods.answered == 15
    unserved.until(lambda: standing_in(unserved) == [], "the activator to be out of the way")
    unserved.wait_for_reason("small", "Ready")
    made = writes(unserved, start)
    assert made["patch endpointslices"] <= 2, "in the way, and out of it"
    events = unserved.kubectl("get", "events", "-o=jsonpath={.items[*].reason}").split()
    assert {"ScaledUp", "ScaledDown"} <= set(events)

    until_asleep(unserved, pods)
    assert ask(unserved)[0] == 200, "and once more"


def test_a_new_operator_leaves_who_sleeps_asleep_and_writes_nothing(
    unserved: Namespace, operator: OperatorProcess, activator: Activator
) -> None:
    assert activator.is_ready()
    unserved.apply({**sleeper(), "spec": {**sleeper()["spec"], "replicas": 0}})
    until_asleep(unserved)
    operator.stop(signal.SIGKILL)
    start = unserved.cluster.audit_position()

    operator.start()
    operator.until_acting()
    time.sleep(5)

    assert standing_in(unserved) == [ACTIVATOR]
    ours = {what: count for what, count in writes(unserved, start).items() if "leases" not in what}
    assert ours == {}


def test_the_last_replica_stays_where_nothing_would_wake_it(
    unserved: Namespace, pods: TalkingPods
) -> None:
    unserved.apply(sleeper())
    limited = unserved.wait_for_reason("small", "ActivatorMissing", "ScalingLimited")

    assert limited["status"] == "True"
    assert "activator.enabled" in limited["message"]
    unserved.wait_for_reason("small", "Ready")
    time.sleep(8)  # twice the window, and some looks
    assert replicas(unserved) == 1
    assert pods.answered == 0


def test_who_else_scales_may_let_it_sleep_and_learns_who_waits(
    unserved: Namespace,
    operator: OperatorProcess,
    pods: TalkingPods,
    activator: Activator,
) -> None:
    assert activator.is_ready()
    unserved.apply(sleeper(driver="External"))
    unserved.wait_for_reason("small", "Ready")

    unserved.kubectl("scale", "msd", "small", "--replicas=0")
    until_asleep(unserved, pods)
    path = names.load_path(unserved.name, "small")

    def load() -> float:
        with urlopen(f"http://127.0.0.1:{operator.port}{path}", timeout=5) as answer:
            return float(json.load(answer)["replicas"])

    assert load() == 0
    with ThreadPoolExecutor() as clients:
        answers = [clients.submit(ask, unserved) for _ in range(5)]
        unserved.until(lambda: load() > 0, "the load of those that wait")
        unserved.kubectl("scale", "msd", "small", "--replicas=1")
        assert [one.result()[0] for one in answers] == [200] * 5
    assert pods.answered == 5


def test_an_activator_that_stops_lets_those_that_wait_have_their_answers(
    unserved: Namespace, pods: TalkingPods, activator: Activator
) -> None:
    unserved.apply(sleeper(driver="External"))
    unserved.wait_for_reason("small", "Ready")
    unserved.kubectl("scale", "msd", "small", "--replicas=0")
    until_asleep(unserved, pods)

    with ThreadPoolExecutor() as clients:
        waiting = clients.submit(ask, unserved)
        wait_until(lambda: activator.held() == 1, "a request to be held", 30)
        activator.process.send_signal(signal.SIGTERM)
        unserved.kubectl("scale", "msd", "small", "--replicas=1")
        assert waiting.result()[0] == 200
    assert activator.process.wait(30) == 0
    assert pods.answered == 1
