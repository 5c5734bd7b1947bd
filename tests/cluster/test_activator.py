"""An endpoint without a replica answers: a real activator, a real API server, and fake pods."""

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import pytest

from activator_process import (
    ACTIVATOR,
    SETTINGS,
    Activator,
    ask,
    network_of_fake_pods,
    running_activator,
    sleeper,
    standing_in,
    until_scaled_to_zero,
)
from autoscaled_endpoint import replicas
from cluster_namespace import Namespace
from mistral_dev.commands import wait_until
from mistral_operator.kube import names
from operator_process import OperatorProcess
from operator_writes import writes
from talking_pods import TalkingPods


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


@pytest.fixture
def activator(
    unserved: Namespace, operator: OperatorProcess, tmp_path: Path
) -> Iterator[Activator]:
    """Run an activator."""
    assert operator.process is not None
    with running_activator(unserved, tmp_path / "activator.log") as made:
        yield made


def test_an_idle_endpoint_scales_to_zero_and_the_first_requests_start_it_and_are_answered(
    unserved: Namespace, pods: TalkingPods, activator: Activator
) -> None:
    assert activator.is_ready()
    unserved.apply(sleeper())
    unserved.wait_for_reason("small", "Ready")
    unserved.until(lambda: standing_in(unserved) == [], "the activator to be out of the way")
    until_scaled_to_zero(unserved, pods)
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

    until_scaled_to_zero(unserved, pods)
    assert ask(unserved)[0] == 200, "and once more"


def test_a_new_operator_leaves_an_endpoint_at_zero_and_writes_nothing(
    unserved: Namespace, operator: OperatorProcess, activator: Activator
) -> None:
    assert activator.is_ready()
    unserved.apply({**sleeper(), "spec": {**sleeper()["spec"], "replicas": 0}})
    until_scaled_to_zero(unserved)
    operator.stop(signal.SIGKILL)
    start = unserved.cluster.audit_position()

    operator.start()
    operator.until_acting()
    time.sleep(5)

    assert standing_in(unserved) == [ACTIVATOR]
    ours = {what: count for what, count in writes(unserved, start).items() if "leases" not in what}
    assert ours == {}


def test_a_made_up_key_starts_nothing_also_after_a_restart_of_the_operator(
    unserved: Namespace, operator: OperatorProcess, pods: TalkingPods, activator: Activator
) -> None:
    assert activator.is_ready()
    pods.keys, pods.running = ("right", "other"), 10
    endpoint = sleeper()
    endpoint["spec"]["gate"] = {"apiKeys": {"secret": "keys"}}
    unserved.apply(endpoint)
    unserved.until(lambda: f"{unserved.name}.small" in key_map(unserved), "the digests")
    time.sleep(6)  # the activator reads them every five seconds
    pods.running = 0
    until_scaled_to_zero(unserved, pods)

    assert ask(unserved, "made-up")[0] == 401
    operator.stop(signal.SIGKILL)
    operator.start()
    operator.until_acting()
    time.sleep(6)
    assert ask(unserved, "made-up")[0] == 401
    assert ask(unserved)[0] == 401, "without a key"
    time.sleep(3)
    assert (replicas(unserved), pods.answered, activator.held()) == (0, 0, 0)

    assert ask(unserved, "right")[0] == 200
    assert pods.answered == 1
    unserved.kubectl("delete", "msd", "small")
    unserved.until(lambda: f"{unserved.name}.small" not in key_map(unserved), "no digests")


def key_map(namespace: Namespace) -> dict[str, str]:
    """Return the digests that the operator keeps."""
    arguments = ("get", "configmap", names.KEY_MAP, "--namespace=default", "--ignore-not-found")
    text = namespace.cluster.kubectl(*arguments, "-o=json")
    return dict(json.loads(text).get("data") or {}) if text else {}


def test_the_last_replica_stays_where_nothing_would_scale_from_zero(
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


def test_another_autoscaler_may_scale_to_zero_and_learns_of_queued_requests(
    unserved: Namespace,
    operator: OperatorProcess,
    pods: TalkingPods,
    activator: Activator,
) -> None:
    assert activator.is_ready()
    unserved.apply(sleeper(driver="External"))
    unserved.wait_for_reason("small", "Ready")

    unserved.kubectl("scale", "msd", "small", "--replicas=0")
    until_scaled_to_zero(unserved, pods)
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
    until_scaled_to_zero(unserved, pods)

    with ThreadPoolExecutor() as clients:
        waiting = clients.submit(ask, unserved)
        wait_until(lambda: activator.held() == 1, "a request to be held", 30)
        activator.process.send_signal(signal.SIGTERM)
        unserved.kubectl("scale", "msd", "small", "--replicas=1")
        assert waiting.result()[0] == 200
    assert activator.process.wait(30) == 0
    assert pods.answered == 1
