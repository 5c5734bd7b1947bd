"""Fixtures that several unit tests share."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from api_server import ApiServer
from gate_engine import settings
from mistral_operator.kube.client import Cluster
from mistral_server.contract import ServerSettings
from server_runner import RunningServer, fake_environment, running, server_settings

Start = Callable[..., RunningServer]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start a server: together they take too long for `make check`."""
    for item in items:
        if isinstance(item, pytest.Function) and "start" in item.fixturenames:
            item.add_marker(pytest.mark.process)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server whose engine is the fake, with the behavior given by name."""
    with ExitStack() as stack:

        def begin(settings: ServerSettings | None = None, **behavior: Any) -> RunningServer:
            chosen = settings or server_settings(tmp_path)
            environment = fake_environment(tmp_path, behavior)
            return stack.enter_context(running(chosen, environment, tmp_path))

        yield begin


@pytest.fixture
def api() -> ApiServer:
    """Return an API server with nothing in it."""
    return ApiServer()


@pytest_asyncio.fixture
async def cluster(api: ApiServer) -> AsyncIterator[Cluster]:
    """Return a connection to that API server."""
    async with api.cluster() as made:
        yield made


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put the settings of a gate into the environment; return a function that changes them."""

    def change(**changes: Any) -> None:
        for name, value in settings(**changes).items():
            monkeypatch.setenv(name, value)

    change()
    return change


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """Return the root logger, and restore it afterwards."""
    root, kopf = logging.getLogger(), logging.getLogger("kopf")
    before = root.level, list(root.handlers), kopf.level
    yield root
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    kopf.setLevel(before[2])
