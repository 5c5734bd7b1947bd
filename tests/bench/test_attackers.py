"""What an ordinary client notices of 20 attackers: first token, probe, and the server's memory."""

import http.client
import json
import os
import time
from pathlib import Path
from statistics import median

import psutil
import pytest

from bench.attackers import ATTACKERS, LONG_SECONDS, attacked
from engine_server import BOOT_SECONDS, server_at
from server_runner import RunningServer

CHATS = int(os.environ.get("MISTRAL_BENCH_CHATS", "40"))
ROUNDS = 3
MOST_RATIO = 2.0
SHORT_SECONDS = 0.05
"""Attackers that do not wait for a delayed response: a flood, which the delay does not stop."""
ORDINARY = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8}


def first_token(port: int) -> float:
    """Send an ordinary chat; return the milliseconds to the first part of its answer."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({**ORDINARY, "stream": True})
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    response = connection.getresponse()
    assert response.status == 200
    response.readline()
    took = (time.monotonic() - started) * 1e3
    response.read()
    connection.close()
    return took


def memory_mib(server: RunningServer) -> float:
    """Return the memory of all processes of a server."""
    return sum(psutil.Process(pid).memory_info().rss for pid in server.processes()) / 2**20


@pytest.mark.timeout(1800)
def test_an_ordinary_client_hardly_notices_20_attackers(tmp_path: Path) -> None:
    with server_at(tmp_path) as server:
        server.until_ready(BOOT_SECONDS)
        port = server.settings.port
        [first_token(port) for _ in range(10)]
        before = memory_mib(server)
        print("\nattackers  alone p50 ms  attacked p50  p95  ratio  refused  abandoned  probes")
        ratios = [_round(server, "patient", LONG_SECONDS) for _ in range(ROUNDS)]
        _round(server, "hasty", SHORT_SECONDS)
        grown = memory_mib(server) - before
        print(f"memory grown by {grown:.0f} MiB from {before:.0f}")
    assert median(ratios) <= MOST_RATIO
    assert grown < 512


def _round(server: RunningServer, name: str, timeout: float) -> float:
    """Measure alone and beside attackers; return the ratio of the first tokens' medians."""
    port = server.settings.port
    alone, during, slowest_probe = [first_token(port) for _ in range(CHATS)], list[float](), 0.0
    with attacked(port, timeout) as sent:
        time.sleep(2)
        for _ in range(CHATS):
            during.append(first_token(port))
            started = time.monotonic()
            assert server.get("/livez")[0] == 200
            slowest_probe = max(slowest_probe, time.monotonic() - started)
    ratio = median(during) / median(alone)
    print(
        f"{name:9} {median(alone):13.1f} {median(during):13.1f}"
        f" {sorted(during)[int(0.95 * CHATS)]:4.0f} {ratio:6.2f} {sent[0].refused:8}"
        f" {sent[0].abandoned:10} {slowest_probe * 1e3:4.0f} ms"
    )
    assert sent[0].refused + sent[0].abandoned >= ATTACKERS
    assert sent[0].served == 0
    return ratio
