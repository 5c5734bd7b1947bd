"""What ends a server, and what needs one of another shape: each test starts its own."""

import os
import signal
import socket
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest

from engine_counts import the_counts_are_the_clients
from engine_requests import ask, refused
from engine_server import BOOT_SECONDS, engine_settings
from mistral_server.contract import (
    EXIT_CODES,
    EngineSettings,
    FailureClass,
    GateSettings,
    LimitSettings,
    Stage,
)
from server_runner import RunningServer

StartServer = Callable[..., RunningServer]

GONE_SECONDS = 60.0
"""vLLM took 30 s to notice a killed worker on a crowded machine of two cores."""


def connection_after_a_response(client: HTTPConnection) -> str | None:
    """Return the header that says whether a response closes its connection."""
    client.request("GET", "/v1/models")
    response = client.getresponse()
    response.read()
    return response.getheader("connection")


@pytest.mark.parametrize("victim", ["-m vllm.entrypoints", "VLLM::EngineCore", "VLLM::Worker"])
def test_a_killed_process_takes_the_rest_along(start_server: StartServer, victim: str) -> None:
    server = start_server()
    server.until_ready(BOOT_SECONDS)
    segments = server.shared_memory()
    os.kill(server.pid_of(victim), signal.SIGKILL)

    assert server.wait(GONE_SECONDS) == EXIT_CODES[FailureClass.ENGINE_DIED]
    assert server.processes() == {}
    report = server.report()
    assert report.failure is FailureClass.ENGINE_DIED
    assert report.stage == Stage.SERVING
    assert ("Worker proc VllmWorker-0 died unexpectedly" in report.evidence) == (
        victim == "VLLM::Worker"
    )
    # The rest is vLLM's own and unnamed to Python: gloo's 8 MB of a CPU rank.
    left = [path for path in segments if path.name.startswith("psm_") and path.exists()]
    assert segments
    assert left == []


def test_a_killed_supervisor_takes_every_process_down(start_server: StartServer) -> None:
    server = start_server()
    server.until(lambda: "Starting to load model" in server.output.read_text(), BOOT_SECONDS)
    assert server.pid_of("VLLM::Worker")
    server.process.kill()

    server.until(lambda: server.processes() == {}, seconds=10)


def test_two_api_servers_count_together_and_a_stop_cuts_no_stream(
    start_server: StartServer, tmp_path: Path
) -> None:
    values = engine_settings(tmp_path).engine.model_dump() | {"api_servers": 2}
    server = start_server(engine=EngineSettings.model_validate(values))
    server.until_ready(BOOT_SECONDS)

    the_counts_are_the_clients(server, tmp_path)

    # With several API servers, vLLM itself cuts every stream on SIGTERM.
    streams = [server.stream(1500, ignore_eos=True) for _ in range(4)]
    for stream in streams:
        next(stream)
    kept = HTTPConnection("127.0.0.1", server.settings.port, timeout=30)
    assert connection_after_a_response(kept) is None
    server.stop()
    server.until(lambda: server.get("/readyz") == (503, "draining"), seconds=2)
    # A client that keeps its connection would keep this server for all its requests.
    assert connection_after_a_response(kept) == "close"
    kept.close()
    for stream in streams:
        lines = list(stream)
        assert lines[-1] == b"data: [DONE]"
        assert b'"finish_reason":"length"' in lines[-2]
    assert server.wait(GONE_SECONDS) == 0
    assert server.processes() == {}
    assert not Path(server.settings.termination_log).exists()


def test_a_connection_without_a_request_is_closed(start_server: StartServer) -> None:
    """Neither half a request line nor a header without end holds a connection."""
    limits = LimitSettings(head_seconds=2, header_bytes=20_000)
    server = start_server(gate=GateSettings(limits=limits))
    server.until_ready(BOOT_SECONDS)
    address = ("127.0.0.1", server.settings.port)
    for start in (b"", b"POST /v1", b"GET /health HTTP/1.1\r\nx-a: "):
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(start)
            assert connection.recv(100).startswith(b"HTTP/1.1 408")
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nx-a: " + b"a" * 300_000)
        assert connection.recv(100).startswith(b"HTTP/1.1 431")
    assert refused(server, "head_seconds") == 3
    assert refused(server, "header_bytes") == 1
    assert ask(server, max_tokens=2).status == 200
