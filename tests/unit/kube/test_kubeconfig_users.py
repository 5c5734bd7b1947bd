"""A kubeconfig's user: whom requests impersonate, and credentials that cannot be had."""

import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from mistral_operator.kube.client import Cluster
from mistral_operator.kube.credentials import load_configuration
from mistral_operator.kube.errors import CannotStart

User = dict[str, Any]

PLUGIN = "import json; print(json.dumps({answer}))"
CREDENTIAL = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}


@pytest.fixture(autouse=True)
def outside_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the kubeconfig."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def kubeconfig(directory: Path, user: User, server: str = "http://127.0.0.1:1") -> str:
    """Return the path of a kubeconfig with one user."""
    document = {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": server}}],
        "users": [{"name": "a", "user": user}],
    }
    path = directory / "config"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def executed(script: str) -> User:
    """Return a user whose token a program prints."""
    command = {"command": sys.executable, "args": ["-c", script]}
    return {"exec": {"apiVersion": CREDENTIAL["apiVersion"], **command}}


async def sent_headers(directory: Path, user: User) -> list[tuple[str, str]]:
    """Return the headers of identity that a request of a user has."""
    received = list[tuple[str, str]]()

    async def answer(request: web.Request) -> web.Response:
        received.extend(request.headers.items())
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/version", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        path = kubeconfig(directory, user, f"http://127.0.0.1:{server.port}")
        async with await Cluster.connect(1, path) as cluster:
            await cluster.request("GET", "/version")
    return [one for one in received if one[0].startswith(("Impersonate-", "Authorization"))]


TOKEN = ("Authorization", "Bearer t")


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({}, []),
        ({"as": "dev"}, [("Impersonate-User", "dev")]),
        (
            {"as": "dev", "as-uid": "7", "as-groups": ["a", "b"]},
            [
                ("Impersonate-User", "dev"),
                ("Impersonate-Uid", "7"),
                ("Impersonate-Group", "a"),
                ("Impersonate-Group", "b"),
            ],
        ),
        (
            {"as": "dev", "as-user-extra": {"acme.com/project": ["x", "y"]}},
            [
                ("Impersonate-User", "dev"),
                ("Impersonate-Extra-acme.com%2Fproject", "x"),
                ("Impersonate-Extra-acme.com%2Fproject", "y"),
            ],
        ),
    ],
)
async def test_requests_impersonate_whom_the_kubeconfig_names(
    tmp_path: Path, fields: User, headers: list[tuple[str, str]]
) -> None:
    sent = await sent_headers(tmp_path, {"token": "t", **fields})

    assert sorted(sent) == sorted([TOKEN, *headers])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"as-groups": ["a"]}, "as-groups without as"),
        ({"as-uid": "7"}, "as-uid without as"),
        ({"as": 7}, "as is not a text"),
        ({"as": "dev\r\nImpersonate-Group: system:masters"}, "as is not a text"),
        ({"as": "dev", "as-groups": "a"}, "as-groups is not a list of texts"),
        ({"as": "dev", "as-groups": ["a\n"]}, "as-groups is not a list of texts"),
        ({"as": "dev", "as-user-extra": ["a"]}, "as-user-extra is not a map of lists of texts"),
        (
            {"as": "dev", "as-user-extra": {"a": "b"}},
            "as-user-extra is not a map of lists of texts",
        ),
    ],
)
async def test_an_impersonation_that_cannot_be_sent_is_refused(
    tmp_path: Path, fields: User, reason: str
) -> None:
    path = kubeconfig(tmp_path, {"token": "t", **fields})

    with pytest.raises(CannotStart, match=f"cannot be used: {reason}"):
        await load_configuration(1, path)


async def test_a_program_gives_the_token(tmp_path: Path) -> None:
    script = PLUGIN.format(answer={**CREDENTIAL, "status": {"token": "t"}})

    assert await sent_headers(tmp_path, executed(script)) == [TOKEN]


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        (
            {"exec": {"apiVersion": CREDENTIAL["apiVersion"], "command": "no-such-program"}},
            "No such file or directory: 'no-such-program'",
        ),
        (executed("import sys; sys.exit('log in first')"), "returned 1.*log in first"),
        (executed("print('{')"), "failed to decode"),
        (executed(PLUGIN.format(answer={**CREDENTIAL, "status": {}})), "missing token"),
        ({"auth-provider": {"name": "azure"}}, "auth-provider azure is not supported"),
    ],
)
async def test_no_request_is_sent_without_the_credentials_of_the_user(
    tmp_path: Path, user: User, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = kubeconfig(tmp_path, user)

    with pytest.raises(CannotStart, match=rf"cannot be used: .*{reason}"):
        await load_configuration(1, path)
    assert capfd.readouterr().err == ""


async def test_a_token_beside_a_program_that_fails_is_used(tmp_path: Path) -> None:
    user = {**executed("raise SystemExit(1)"), "token": "t"}

    assert await sent_headers(tmp_path, user) == [TOKEN]
    assert logging.getLogger("kubernetes.aio.config.kube_config").propagate
