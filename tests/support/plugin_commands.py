"""Runs commands of `kubectl msd` against a fake API server, as a user does: by a kubeconfig."""

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner, Result

from builders import NAMESPACE
from fake_api_server import FakeApiServer
from fake_objects import ApiError
from mistral_operator.plugin.commands import msd

_PATH = re.compile(
    r"/(?:api|apis/[^/]+)/[^/]+(?:/namespaces/[^/]+(?=/))?/(?P<plural>[a-z]+)"
    r"(?:/[^/]+(?:/(?P<subresource>[a-z]+))?)?"
)


def right_of(path: str) -> str | None:
    """Return the resource that a path reads, such as pods/log; None if it is none."""
    match = _PATH.match(path)
    if match is None:
        return None
    plural, subresource = match["plural"], match["subresource"]
    return f"{plural}/{subresource}" if subresource else plural


@contextmanager
def kubeconfig(server: FakeApiServer, directory: Path) -> Iterator[Path]:
    """Serve, and return the path of a kubeconfig that leads there."""
    with serving_in_thread(server.app()) as port:
        path = directory / "config"
        path.write_text(yaml.safe_dump(_document(f"http://127.0.0.1:{port}")))
        yield path


@contextmanager
def serving_in_thread(app: web.Application) -> Iterator[int]:
    """Serve in a thread, and return the port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        made = TestServer(app, host="127.0.0.1")
        asyncio.run_coroutine_threadsafe(made.start_server(), loop).result()
        try:
            yield made.port or 0
        finally:
            asyncio.run_coroutine_threadsafe(made.close(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _document(url: str) -> dict[str, object]:
    return {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": url}}],
        "users": [{"name": "a", "user": {}}],
    }


def run(server: FakeApiServer, directory: Path, *arguments: str) -> Result:
    """Run a command in the namespace of the tests."""
    with kubeconfig(server, directory) as path:
        options = ("--kubeconfig", str(path), "--namespace", NAMESPACE)
        return CliRunner().invoke(msd, (*arguments, *options))


def started(kubeconfig: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a command as a process of its own, as a terminal does: it heeds SIGINT.

    What a shell starts in the background ignores it, and so do the processes of such tests.
    """
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{heed}; from mistral_operator.plugin.commands import main; main()"
    options = ("--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE)
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def forbidden(verb: str, resource: str) -> ApiError:
    """Return the error of the API server for a user without a right."""
    message = f'User "reader" cannot {verb} resource "{resource}" in API group ""'
    return ApiError(403, "Forbidden", message)


def fake_kubectl(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program `kubectl` on the PATH."""
    path = directory / "kubectl"
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory))
