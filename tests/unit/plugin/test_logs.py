"""`kubectl msd logs` prints the logs that exist, and says which it could not read."""

from pathlib import Path

import pytest

from builders import NAMESPACE, Object, merged, ready_pod, resource_body
from fake_api_server import FakeApiServer
from fake_objects import ApiError
from mistral_operator.kube import kinds
from plugin_cluster import serving
from plugin_commands import forbidden, run

LINE = "2026-03-01T11:00:0{}Z {}\n".format
NOT_STARTED = ApiError(
    400, "BadRequest", 'container "server" in pod "a" is waiting to start: PodInitializing'
)
NOT_BEFORE = ApiError(
    400, "BadRequest", 'previous terminated container "server" in pod "a" not found'
)


def log_of(pod: str) -> str:
    """Return the path of the log of a pod."""
    return f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/log"


def pod(name: str) -> Object:
    """Return a pod with one container."""
    spec = {"containers": [{"name": "server"}]}
    return merged(ready_pod(), {"metadata": {"name": name}, "spec": spec})


def cluster(logs: dict[str, str | ApiError]) -> FakeApiServer:
    """Return an endpoint with a pod for each log, or for the error of reading it."""
    objects = {"resource": (kinds.RESOURCE, resource_body())}
    server = serving(objects | {name: (kinds.POD, pod(name)) for name in logs})
    server.texts = {log_of(name): log for name, log in logs.items() if isinstance(log, str)}
    errors = {log_of(name): log for name, log in logs.items() if isinstance(log, ApiError)}
    server.texts |= dict.fromkeys(errors, "")
    server.before_read = errors.get
    return server


CASES: dict[str, tuple[dict[str, str | ApiError], int, str, str]] = {
    "logs": ({"a": LINE(1, "b"), "c": LINE(0, "d")}, 0, "c/server d\na/server b\n", ""),
    "a log without lines": ({"a": ""}, 0, "", ""),
    "no pods": ({}, 1, "", "no pod exists, so there is no log\n"),
    "none has started": (
        {"a": NOT_STARTED, "b": NOT_STARTED},
        1,
        "",
        "no container was started yet, so there is no log: a/server, b/server\n",
    ),
    "one has started": ({"a": LINE(1, "b"), "c": NOT_STARTED}, 0, "a/server b\n", ""),
    "one cannot be read": (
        {"a": LINE(1, "b"), "c": ApiError(500, "Internal", "no route to host")},
        0,
        "a/server b\n",
        (
            "not shown: cannot read the log of c/server: no route to host\n"
            "not shown: the log of c/server\n"
        ),
    ),
    "none may be read": (
        {"a": forbidden("get", "pods/log"), "c": forbidden("get", "pods/log")},
        1,
        "",
        (
            "not shown: cannot get pods/log in namespace models: ask an administrator to allow it\n"
            "not shown: the log of a/server\n"
            "not shown: the log of c/server\n"
        ),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_logs_say_what_they_leave_out(
    case: tuple[dict[str, str | ApiError], int, str, str], tmp_path: Path
) -> None:
    logs, code, out, err = case

    result = run(cluster(logs), tmp_path, "logs", "small")

    assert (result.exit_code, result.stdout, result.stderr) == (code, out, err)


def test_logs_of_runs_before_say_that_there_were_none(tmp_path: Path) -> None:
    result = run(cluster({"a": NOT_BEFORE}), tmp_path, "logs", "small", "--previous")

    assert result.exit_code == 1
    assert result.stderr == "no container was started before, so there is no log: a/server\n"
