"""Replicas follow the productive load of a real endpoint, from none to two and back to none."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from cluster_namespace import READY_SECONDS, Namespace, Object, resource
from e2e_endpoint import pod_of
from mistral_dev import tools
from mistral_dev.tiny_endpoint import tiny_spec
from mistral_operator.kube import names
from mistral_operator.plugin.commands import msd

TARGET = 2
AT_ONCE = 6
"""Requests at the same time: a load for three replicas, of which two are allowed."""
LOOP_SECONDS = 40
"""Longer than the window after which as many productive requests would have added a replica."""
SPEC: Object = tiny_spec(
    replicas=0,
    loops={"minTokens": 64},
    autoscaling={
        "minReplicas": 0,
        "maxReplicas": 2,
        "targetInFlight": TARGET,
        "behavior": {
            # As by default: looping requests count until they are known to loop.
            "scaleUp": {"stabilizationWindowSeconds": 30},
            # Until the test has seen two replicas, however long the second one takes.
            "scaleDown": {"stabilizationWindowSeconds": 3600},
        },
        "activation": {"maxWaitSeconds": 600},
    },
)
LOOP: Object = {
    "temperature": 0,
    "allowed_token_ids": [1100],
    "max_tokens": 1900,
    "ignore_eos": True,
    # For responses that are not streamed, a loop is known only once the response is complete.
    "stream": True,
}
TALK: Object = {"temperature": 1, "ignore_eos": True}
TALK_TOKENS = range(1150, 1900, 125)
"""Tokens of an answer, another number for each client: those that began together would otherwise
all be between two answers at the same moment, and the load would be none as often as six."""


class Client:
    """Sends chats to the Service from inside the cluster, and remembers what came back."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        address = namespace.wait_for("service", "sleepy")["spec"]["clusterIP"]
        self.url = f"http://{address}:8000/v1"
        self.statuses: list[int] = []

    def get(self, path: str) -> Object:
        """Return what a GET is answered with."""
        return self._curl(f"{self.url}{path}")[1]

    def chat(self, **fields: object) -> Object:
        """Return the answer to a chat."""
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], **fields}
        status, answer = self._curl(f"{self.url}/chat/completions", "--json", json.dumps(body))
        self.statuses.append(status)
        return answer

    def _curl(self, url: str, *options: str) -> tuple[int, Object]:
        command = ["curl", "--silent", "--write-out", "\n%{http_code}", "--max-time", "600"]
        done = subprocess.run(
            self.namespace.cluster.inside([*command, url, *options]),
            capture_output=True,
            text=True,
            check=False,
        )
        text, _, status = done.stdout.rpartition("\n")
        answer = {} if text.startswith("data: ") else json.loads(text or "{}")
        return int(status or 0), answer

    @contextmanager
    def load(self, *chats: Object) -> Iterator[None]:
        """Keep one of each of these chats under way until the block ends, then let them end."""
        over = threading.Event()

        def chat_on(chat: Object) -> None:
            while not over.is_set():
                self.chat(**chat)

        with ThreadPoolExecutor(len(chats)) as clients:
            running: list[Future[None]] = [clients.submit(chat_on, chat) for chat in chats]
            try:
                yield
            finally:
                over.set()
        for one in running:
            one.result()


@pytest.fixture
def client(strict: Namespace) -> Iterator[Client]:
    """Return a client of an endpoint that is scaled to zero from the start."""
    strict.apply(resource("sleepy", SPEC))
    strict.wait_for_reason("sleepy", "Asleep", seconds=60)
    yield Client(strict)
    strict.kubectl("delete", "msd", "sleepy")


def deployment(namespace: Namespace) -> tuple[int, int]:
    """Return the desired replicas, and those that are ready."""
    body = namespace.wait_for("deployment", "sleepy")
    return body["spec"]["replicas"], body["status"].get("readyReplicas", 0)


def scaling(namespace: Namespace) -> Object:
    """Return `status.autoscaling`."""
    status: Object = (namespace.get("msd", "sleepy") or {})["status"]["autoscaling"]
    return status


def stands_in(namespace: Namespace) -> bool:
    """Tell whether the Service leads to the activator."""
    name = names.activator_slice("sleepy", ipv6=False)
    return bool((namespace.get("endpointslice", name) or {}).get("endpoints"))


def test_an_endpoint_starts_grows_ignores_loops_and_scales_to_zero_without_a_failed_request(
    strict: Namespace, client: Client
) -> None:
    # Scaled to zero: the Service answers, and listing the models starts no replica.
    assert strict.condition("sleepy")["status"] == "True"
    assert [one["id"] for one in client.get("/models")["data"]] == ["tiny"]
    assert deployment(strict) == (0, 0)

    # 0 -> 1: the first request waits for a replica and is answered.
    answer = client.chat(max_tokens=4)
    assert answer["choices"][0]["message"]["content"]
    assert deployment(strict)[0] == 1
    strict.until(lambda: not stands_in(strict), "the activator to be out of the way")
    strict.wait_until_ready("sleepy")

    # Loops: three times as many requests as a replica should have, and none of them productive.
    with client.load(*[LOOP] * AT_ONCE):
        strict.until(lambda: looping(strict) >= AT_ONCE - 2, "requests that loop", 120)
        end = time.monotonic() + LOOP_SECONDS
        while time.monotonic() < end:
            assert deployment(strict)[0] == 1, scaling(strict)
            time.sleep(1)

    # 1 -> 2: the same number of productive requests.
    with client.load(*({**TALK, "max_tokens": tokens} for tokens in TALK_TOKENS)):
        strict.until(lambda: deployment(strict)[0] == 2, "a second replica", 120)
        assert scaling(strict)["reason"] in {"ScaledUp", "AtMaximum"}
    strict.until(lambda: deployment(strict) == (2, 2), "two ready ones", READY_SECONDS)

    # 2 -> 0: no requests any more, for five seconds instead of an hour.
    spec = {"autoscaling": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}}}}
    patch = json.dumps({"spec": spec})
    strict.kubectl("patch", "msd", "sleepy", "--type=merge", f"--patch={patch}")
    strict.until(lambda: deployment(strict)[0] == 0, "no replica", 180)
    strict.wait_for_reason("sleepy", "Asleep", seconds=60)
    assert stands_in(strict)
    assert set(client.statuses) == {200}, "a request failed"


def test_a_chat_of_kubectl_msd_starts_a_replica(
    strict: Namespace, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stands_in(strict)
    assert client.url
    monkeypatch.setenv("PATH", tools.search_path(), prepend=os.pathsep)
    kubeconfig = strict.cluster.layout.kubeconfig
    access = ("--namespace", strict.name, "--kubeconfig", str(kubeconfig))

    chat = CliRunner().invoke(msd, ["chat", "sleepy", "Hello", "--max-tokens", "4", *access])
    top = CliRunner().invoke(msd, ["top", "sleepy", "--seconds", "1", *access])
    logs = CliRunner().invoke(msd, ["logs", "sleepy", *access])

    assert chat.exit_code == 0, chat.output
    assert chat.stderr.startswith("sleepy is scaled to zero: the request starts a replica")
    assert chat.stdout.strip()
    assert (top.exit_code, top.stderr) == (0, ""), top.output
    assert "serving" in top.stdout
    assert (logs.exit_code, logs.stderr) == (0, ""), logs.output


def looping(namespace: Namespace) -> int:
    """Return the requests that loop, as the one pod says it."""
    pod = namespace.wait_for("pod", pod_of(namespace, "sleepy"))
    url = f"http://{pod['status']['podIP']}:8001/signals"
    done = subprocess.run(
        namespace.cluster.inside(["curl", "--silent", url]),
        capture_output=True,
        text=True,
        check=True,
    )
    return int(json.loads(done.stdout)["looping"])
