"""Servers with the real vLLM, built for CPUs, on this host. No cluster and no GPU.

The first run of this tier downloads the engine (0.8 GB); `mistral_dev.images.engine` has its
path. A server takes about a minute to start on two cores, so one is shared by all tests that leave
it as it was.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from engine_server import BOOT_SECONDS, StartServer, server_at
from server_runner import RunningServer


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start a server of this test's own."""
    with ExitStack() as stack:

        def start(**changes: Any) -> RunningServer:
            return stack.enter_context(server_at(tmp_path, **changes))

        yield start


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Return a ready server that no test may stop or hurt."""
    with server_at(tmp_path_factory.mktemp("server"), program="engine_tap") as server:
        server.until_ready(BOOT_SECONDS)
        yield server
