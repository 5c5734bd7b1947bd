"""Pods as platforms change them: users, init containers and sidecars that the operator did not set.

The tests share one endpoint, which fetches its model from a slow hub, in the order of its life.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import slow_hub
from cluster_namespace import Namespace, Object, resource
from e2e_endpoint import pod_of
from injection import (
    LABEL,
    PLATFORM_USER,
    beside,
    chosen_user,
    failing,
    first,
    inject,
    sidecar,
    waiting,
)
from mistral_dev.installation import OPERATOR_NAMESPACE, Installation
from mistral_dev.network import NODE_IP

NAME = "moved"
HUB_PORT = 8300
INIT_SECONDS = 5.0
SECONDS = 90.0
"""For what takes some seconds on an idle machine."""


def endpoint(label: str, **pod: Object) -> Object:
    """Return the spec of an endpoint that fetches the tiny model from the slow hub."""
    few = {"requests": {"cpu": "100m", "memory": "256Mi"}}
    return {
        "device": "cpu",
        "model": {
            "id": "tests/tiny",
            "dtype": "float32",
            "source": {"hub": {"endpoint": f"http://{NODE_IP}:{HUB_PORT}"}},
        },
        "engine": {"tensorParallelSize": 1, "contextLength": 1024, "kvCache": {"memory": "32Mi"}},
        "images": {"perPrompt": 1},
        "sharedMemory": "512Mi",
        "pod": {
            "labels": {LABEL: label},
            "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
            "fetchResources": few,
            **pod,
        },
    }


@pytest.fixture(scope="module")
def hub(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a slow hub on the node, and return its log."""
    log = tmp_path_factory.mktemp("hub") / "log"
    log.touch()
    program = [sys.executable, slow_hub.__file__, str(installation.prepared.checkpoint)]
    command = installation.cluster.inside([*program, NODE_IP, str(HUB_PORT), str(log)])
    # It is told of each connection that a killed fetch has cut.
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield log
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def platform(strict: Namespace, hub: Path) -> Iterator[Namespace]:
    """Return a namespace whose API server changes pods, with an endpoint that it was done to."""
    assert hub.exists()
    inject(
        strict,
        "mesh",
        first(sidecar("proxy", restartPolicy="Always")),
        first(waiting("slow-init", INIT_SECONDS)),
        beside(sidecar("agent")),
        *chosen_user(),
    )
    inject(strict, "broken", first(failing("broken-init", "no route to the mesh")))
    strict.apply(resource(NAME, endpoint("mesh", securityContext={})))
    yield strict
    strict.kubectl("delete", "msd", NAME, "broken", "--ignore-not-found", "--wait=false")


def message(namespace: Namespace, name: str = NAME) -> str:
    """Return what the condition Ready says."""
    return str(namespace.condition(name).get("message", ""))


def until_said(namespace: Namespace, *parts: str, name: str = NAME) -> None:
    """Wait until the condition Ready says something."""
    namespace.until(
        lambda: all(part in message(namespace, name) for part in parts), str(parts), SECONDS
    )


def fetched(namespace: Namespace) -> tuple[int, int]:
    """Return the fetched bytes and all of them, 0 if they are not reported."""
    status = (namespace.get("msd", NAME) or {}).get("status", {}).get("fetch", {})
    return status.get("fetchedBytes", 0), status.get("totalBytes", 0)


def test_a_slow_init_container_of_others_is_what_the_server_waits_for(
    platform: Namespace,
) -> None:
    until_said(platform, "the server waits for container slow-init, which something else adds")

    assert platform.condition(NAME, "Degraded")["status"] == "False"


def test_the_progress_of_a_fetch_is_shown(platform: Namespace) -> None:
    platform.wait_for_reason(NAME, "FetchingModel", seconds=SECONDS)
    platform.until(lambda: 0 < fetched(platform)[0] < fetched(platform)[1], "progress", SECONDS)

    assert " of 7.0 MB" in platform.kubectl("get", "msd", NAME, "--no-headers", "-o", "wide")
    assert fetched(platform)[1] == pytest.approx(7_039_000, rel=0.01)


def test_a_killed_fetch_goes_on(platform: Namespace, hub: Path) -> None:
    pod = platform.get("pod", pod_of(platform, NAME))
    assert pod is not None
    (fetch,) = [one for one in pod["status"]["initContainerStatuses"] if one["name"] == "fetch"]
    task = fetch["containerID"].removeprefix("containerd://")
    platform.cluster.run_inside(["ctr", "tasks", "kill", "--signal", "SIGKILL", task])

    until_said(platform, "is being fetched from the hub again, since the first fetch was killed")
    platform.wait_for_reason(NAME, "Starting", seconds=SECONDS)

    requested = hub.read_text().split()
    assert requested.count("consolidated.safetensors") == 2
    assert requested.count("tekken.json") == 1, "what was complete was fetched again"


def test_an_endpoint_serves_as_the_user_of_the_platform(platform: Namespace) -> None:
    platform.wait_until_ready(NAME)

    pod = pod_of(platform, NAME)
    script = "import os; print(os.getuid(), os.getgid())"
    for container in ("server", "agent", "proxy"):
        user = platform.kubectl("exec", pod, "-c", container, "--", "python3", "-c", script)
        assert user.split() == [str(PLATFORM_USER), "0"]


def test_nothing_that_was_added_was_taken_for_a_cause(platform: Namespace) -> None:
    warnings = [
        one["message"]
        for one in platform.all_of("events")
        if one["involvedObject"]["name"] == NAME and one["type"] == "Warning"
    ]

    assert warnings == []
    assert (platform.get("msd", NAME) or {})["status"]["conditions"][0]["reason"] == "Ready"


def test_every_port_answers_at_an_ipv6_address(platform: Namespace) -> None:
    pods = {pod_of(platform, NAME): platform}
    operators = Namespace(platform.cluster, OPERATOR_NAMESPACE)
    pods |= {one["metadata"]["name"]: operators for one in operators.all_of("pod")}
    assert len(pods) == 3

    for pod, namespace in pods.items():
        address = link_local_address(namespace, pod)
        for port in declared_ports(namespace, pod):
            url = f"http://[{address}%25cni0]:{port}/metrics"
            platform.cluster.run_inside(["curl", "--silent", "--show-error", "--globoff", url])


def link_local_address(namespace: Namespace, pod: str) -> str:
    """Return the IPv6 address that every interface has, where the kernel has IPv6."""
    script = "import json; print(json.dumps(open('/proc/net/if_inet6').read().split()))"
    fields = json.loads(namespace.kubectl("exec", pod, "--", "python3", "-c", script))
    rows = [fields[start : start + 6] for start in range(0, len(fields), 6)]
    (digits,) = [row[0] for row in rows if row[5] == "eth0" and row[0].startswith("fe80")]
    return ":".join(digits[start : start + 4] for start in range(0, 32, 4))


def declared_ports(namespace: Namespace, pod: str) -> list[int]:
    """Return the ports that the containers of a pod declare."""
    body = namespace.get("pod", pod)
    assert body is not None
    containers = body["spec"]["containers"]
    return [port["containerPort"] for one in containers for port in one.get("ports", ())]


def test_a_failing_init_container_of_others_is_the_cause(platform: Namespace) -> None:
    platform.apply(resource("broken", endpoint("broken")))

    platform.wait_for_reason("broken", "ServerFailed", seconds=SECONDS)

    until_said(
        platform,
        "container broken-init, which something else adds to the pods, exited before the server",
        "correct what adds it",
        "no route to the mesh",
        name="broken",
    )
    assert platform.condition("broken", "Degraded")["status"] == "True"
