"""What an ordinary client notices of 20 attackers: the first token, the probe, the server's memory.

The attackers send the hostile requests of the corpus, each the next one as soon as it has an
answer. They run with the lowest priority, since they share the machine with the engine here.
"""

import http.client
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median

import psutil
import pytest

from engine_server import BOOT_SECONDS, server_at
from hostile_requests import attacks
from server_runner import RunningServer

ATTACKERS = 20
CHATS = int(os.environ.get("MISTRAL_BENCH_CHATS", "40"))
ROUNDS = 3
MOST_RATIO = 2.0
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


def attack(port: int, ended: Event, answers: "multiprocessing.Queue[tuple[int, int]]") -> None:
    """Attack until the end, in a process of its own; report how many were sent and answered 4xx."""
    os.nice(19)
    sent = refused = 0
    lock, corpus = threading.Lock(), attacks()

    def one(number: int) -> None:
        nonlocal sent, refused
        while not ended.is_set():
            number += 1
            hostile = corpus[number % len(corpus)]
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                headers = {"content-type": "application/json", **dict(hostile.headers)}
                connection.request("POST", hostile.path, hostile.body, headers)
                status = connection.getresponse().status
                connection.close()
            except (OSError, http.client.HTTPException):
                status = 0  # refused by closing the connection
            with lock:
                sent, refused = sent + 1, refused + (status == 0 or 400 <= status < 500)

    threads = [threading.Thread(target=one, args=(index * 17,)) for index in range(ATTACKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put((sent, refused))


@contextmanager
def attacked(port: int) -> Iterator[list[tuple[int, int]]]:
    """Attack a server during the block; yield the numbers of requests, which come at its end."""
    spawn = multiprocessing.get_context("spawn")
    ended, answers, numbers = spawn.Event(), spawn.Queue(), list[tuple[int, int]]()
    process = spawn.Process(target=attack, args=(port, ended, answers))
    process.start()
    time.sleep(2)
    try:
        yield numbers
    finally:
        ended.set()
        numbers.append(answers.get(timeout=60))
        process.join(30)


def memory_mib(server: RunningServer) -> float:
    """Return the memory of all processes of a server."""
    return sum(psutil.Process(pid).memory_info().rss for pid in server.processes()) / 2**20


@pytest.mark.timeout(1800)
def test_an_ordinary_client_hardly_notices_20_attackers(tmp_path: Path) -> None:
    with server_at(tmp_path) as server:
        server.until_ready(BOOT_SECONDS)
        port = server.settings.port
        [first_token(port) for _ in range(10)]
        before, ratios = memory_mib(server), []
        print("\nround  alone p50 ms  attacked p50  attacked p95  ratio  requests  refused  probes")
        for number in range(ROUNDS):
            alone = [first_token(port) for _ in range(CHATS)]
            slowest_probe = 0.0
            with attacked(port) as numbers:
                during = []
                for _ in range(CHATS):
                    during.append(first_token(port))
                    started = time.monotonic()
                    assert server.get("/livez")[0] == 200
                    slowest_probe = max(slowest_probe, time.monotonic() - started)
            sent, refused = numbers[0]
            ratios.append(median(during) / median(alone))
            print(
                f"{number:5} {median(alone):13.1f} {median(during):13.1f}"
                f" {sorted(during)[int(0.95 * CHATS)]:13.1f} {ratios[-1]:6.2f} {sent:9}"
                f" {refused:8} {slowest_probe * 1e3:5.0f} ms"
            )
            assert refused == sent
        grown = memory_mib(server) - before
        print(f"memory grown by {grown:.0f} MiB from {before:.0f}")
    assert median(ratios) <= MOST_RATIO
    assert grown < 512
