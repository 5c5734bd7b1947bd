"""`kubectl msd chat` while no replica is ready: by the activator, or it says why not."""

import json
import signal
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web
from click.testing import Result

from builders import NAME, NAMESPACE, Object, merged, pod_body, resource_body
from fake_api_server import FakeApiServer
from fake_objects import ApiError
from mistral_operator.kube import kinds, names
from plugin_cluster import SYSTEM, serving
from plugin_commands import (
    fake_kubectl,
    forbidden,
    kubeconfig,
    right_of,
    run,
    serving_in_thread,
    started,
)

ADDRESS, PORT = "10.1.0.9", 20_007
ZERO: Object = {"autoscaling": {"minReplicas": 0, "maxReplicas": 2}}
WAKE = (
    "a POST to http://small.models.svc:8000/v1/chat/completions from a pod in the cluster starts a"
    " replica, or set spec.autoscaling.minReplicas to 1"
)
QUEUED = "queued until one is ready, for at most 300 seconds"


class Conversation(NamedTuple):
    """What a chat did."""

    result: Result
    arguments: str
    """Of kubectl; empty if it was not started."""
    received: list[Object]
    """Requests that the endpoint received."""


def slice_of(*addresses: str) -> Object:
    """Return the EndpointSlice of the operator; without addresses while replicas serve."""
    return {
        "metadata": {"name": names.activator_slice(NAME, ipv6=False), "namespace": NAMESPACE},
        "endpoints": [{"addresses": [one]} for one in addresses],
        "ports": [{"name": "http", "port": PORT}],
    }


def activator(address: str = ADDRESS) -> Object:
    """Return a pod of the activator."""
    labels = {names.LABEL_NAME: f"{names.MANAGED_BY}-activator"}
    metadata = {"name": "activator-1", "namespace": SYSTEM, "labels": labels}
    return merged(pod_body(), {"metadata": metadata, "status": {"podIP": address}})


def cluster(
    reason: str, *addresses: str, spec: Object = ZERO, without: str | None = None
) -> FakeApiServer:
    """Return an API server with an endpoint that reports a reason, and with its activator.

    Args:
        reason: of Ready.
        addresses: in the operator's slice.
        spec: of the endpoint.
        without: what the user may not read.
    """
    condition = {
        "type": "Ready",
        "status": "True" if reason in {"Asleep", "Ready"} else "False",
        "reason": reason,
        "message": "the engine is starting",
        "lastTransitionTime": "2026-03-01T11:00:00Z",
    }
    resource = {**resource_body(spec), "status": {"conditions": [condition]}}
    server = serving(
        {
            "resource": (kinds.RESOURCE, resource),
            "slice": (kinds.ENDPOINT_SLICE, slice_of(*addresses)),
            "activator": (kinds.POD, activator()),
        }
    )

    def reject(path: str) -> ApiError | None:
        return forbidden("get", without) if without and right_of(path) == without else None

    server.before_read = reject
    return server


def talk(
    server: FakeApiServer,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: str | None = None,
) -> Conversation:
    """Send a chat; kubectl forwards a port of a server that answers Hello, or fails."""
    received = list[Object]()

    async def answer(request: web.Request) -> web.Response:
        received.append(await request.json())
        event = json.dumps({"choices": [{"delta": {"content": "Hello"}}]})
        return web.Response(text=f"data: {event}\n\ndata: [DONE]\n\n")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    arguments = directory / "arguments"
    with serving_in_thread(app) as port:
        fails = f"sys.exit({error!r})" if error else ""
        script = (
            "import sys, time, pathlib\n"
            f"pathlib.Path({str(arguments)!r}).write_text(' '.join(sys.argv[3:]))\n"
            f"{fails}\n"
            f"print('Forwarding from 127.0.0.1:{port} -> 1', flush=True)\n"
            "time.sleep(60)"
        )
        fake_kubectl(directory, monkeypatch, script)
        result = run(server, directory, "chat", NAME, "Hi")
    return Conversation(result, arguments.read_text() if arguments.exists() else "", received)


NOTICES = {
    "asleep": (
        "Asleep",
        f"small is scaled to zero: the request starts a replica, and is {QUEUED}\n",
    ),
    "starting": (
        "Starting",
        f"small is not ready (Starting: the engine is starting): the request is {QUEUED}\n",
    ),
    "an older status": ("Ready", f"no replica of small is ready: the request is {QUEUED}\n"),
}


@pytest.mark.parametrize(("reason", "notice"), NOTICES.values(), ids=NOTICES)
def test_the_activator_gets_the_request_while_no_replica_is_ready(
    reason: str, notice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = talk(cluster(reason, "10.1.0.8", ADDRESS), tmp_path, monkeypatch)

    assert (chat.result.exit_code, chat.result.stdout) == (0, "Hello\n"), chat.result.output
    assert chat.result.stderr == notice
    assert chat.arguments == (
        f"port-forward --namespace {SYSTEM} pod/activator-1 :{PORT} --address 127.0.0.1"
    )
    assert chat.received[0]["messages"] == [{"role": "user", "content": "Hi"}]


def test_a_replica_gets_the_request_once_it_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = talk(cluster("Ready"), tmp_path, monkeypatch)

    assert (chat.result.stdout, chat.result.stderr) == ("Hello\n", "")
    assert chat.arguments == (
        f"port-forward --namespace {NAMESPACE} service/{NAME} :8000 --address 127.0.0.1"
    )


UNREACHABLE: dict[str, tuple[FakeApiServer, str]] = {
    "suspended": (
        cluster("Suspended", spec={"suspend": True}),
        (
            "small is suspended, and nothing answers: `kubectl msd resume small -n models` starts"
            " its replicas"
        ),
    ),
    "its slices may not be read": (
        cluster("Asleep", ADDRESS, without="endpointslices"),
        (
            "small is scaled to zero, and its activator is not known: cannot get"
            " endpointslices.discovery.k8s.io in namespace models: ask an administrator to allow"
            f" it; {WAKE}"
        ),
    ),
    "its pods may not be listed": (
        cluster("Asleep", ADDRESS, without="pods"),
        (
            "small is scaled to zero, and its activator cannot be reached from here: cannot list"
            f" pods: ask an administrator to allow it; {WAKE}"
        ),
    ),
    "it is another pod": (
        cluster("Asleep", "10.1.0.8"),
        (
            "small is scaled to zero, and its activator cannot be reached from here: no pod"
            " with the label app.kubernetes.io/name=mistral-small-operator-activator has its"
            f" address; {WAKE}"
        ),
    ),
}


@pytest.mark.parametrize(("server", "sentence"), UNREACHABLE.values(), ids=UNREACHABLE)
def test_what_is_happening_is_said_where_nothing_can_be_reached(
    server: FakeApiServer, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = talk(server, tmp_path, monkeypatch)

    assert chat.result.exit_code == 1
    assert (chat.result.stdout, chat.arguments) == ("", "")
    assert chat.result.stderr == f"Error: {sentence}\n"


def test_a_port_that_may_not_be_forwarded_has_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = 'error: pods "activator-1" is forbidden: User "a" cannot create "pods/portforward"'

    chat = talk(cluster("Asleep", ADDRESS), tmp_path, monkeypatch, reason)

    assert chat.result.exit_code == 1
    last = chat.result.stderr.splitlines()[-1]
    assert last == f"Error: kubectl port-forward failed: {reason}; {WAKE}"


def test_a_service_without_a_pod_has_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "error: timed out waiting for the condition"

    chat = talk(cluster("Starting", spec={}), tmp_path, monkeypatch, reason)

    assert chat.result.exit_code == 1
    assert chat.result.stderr == (
        f"Error: kubectl port-forward failed: {reason}; small is not ready (Starting: the engine"
        " is starting)\n"
    )


def test_slices_that_may_not_be_read_do_not_matter_while_a_replica_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = talk(cluster("Ready", without="endpointslices"), tmp_path, monkeypatch)

    assert (chat.result.exit_code, chat.result.stdout) == (0, "Hello\n")


def until_it_reads(pid: int) -> None:
    """Wait until a process that has printed a prompt blocks in reading the answer.

    Python's `input` prints and then reads: a signal in between is handled only after the read.
    """
    status = Path(f"/proc/{pid}/stat")
    while status.read_text().rpartition(") ")[2][0] != "S":
        time.sleep(0.01)


def test_ctrl_c_ends_a_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forwarding = "print('Forwarding from 127.0.0.1:1 -> 1', flush=True)"
    fake_kubectl(tmp_path, monkeypatch, f"import time\n{forwarding}\ntime.sleep(60)")
    with (
        kubeconfig(cluster("Ready"), tmp_path) as path,
        started(path, "chat", NAME) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.read(5) == "you> "
        until_it_reads(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
