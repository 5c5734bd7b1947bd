"""Attackers of a server, in a process of their own.

They send the hostile requests of the corpus, each the next one as soon as it has an answer, or as
soon as it times out. They run with the lowest priority, since they share the machine with the
engine here.
"""

import http.client
import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event

from hostile_requests import Attack, attacks

ATTACKERS = 20
LONG_SECONDS = 30.0
"""Longer than any response is delayed."""


@dataclass
class Sent:
    """How many requests attackers sent, by outcome."""

    refused: int = 0
    """Answered by 4xx, or by closing the connection."""
    abandoned: int = 0
    """Given up by the attacker."""
    served: int = 0


def _result(port: int, hostile: Attack, timeout: float) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    headers = {"content-type": "application/json", **dict(hostile.headers)}
    try:
        connection.request("POST", hostile.path, hostile.body, headers)
        status = connection.getresponse().status
    except TimeoutError:
        return "abandoned"
    except (OSError, http.client.HTTPException):
        return "refused"
    finally:
        connection.close()
    return "refused" if 400 <= status < 500 else "served"


def _attack(
    port: int, timeout: float, began: Event, ended: Event, sent: "multiprocessing.Queue[Sent]"
) -> None:
    os.nice(19)
    lock, corpus, total = threading.Lock(), attacks(), Sent()

    def one(number: int) -> None:
        while not ended.is_set():
            number += 1
            result = _result(port, corpus[number % len(corpus)], timeout)
            with lock:
                setattr(total, result, getattr(total, result) + 1)

    threads = [threading.Thread(target=one, args=(index * 17,)) for index in range(ATTACKERS)]
    for thread in threads:
        thread.start()
    began.set()
    for thread in threads:
        thread.join()
    sent.put(total)


@contextmanager
def attacked(port: int, timeout: float = LONG_SECONDS) -> Iterator[list[Sent]]:
    """Attack a server during the block; yield what was sent, which comes at its end."""
    spawn = multiprocessing.get_context("spawn")
    began, ended, queue, sent = spawn.Event(), spawn.Event(), spawn.Queue(), list[Sent]()
    process = spawn.Process(target=_attack, args=(port, timeout, began, ended, queue))
    process.start()
    assert began.wait(60)
    try:
        yield sent
    finally:
        ended.set()
        sent.append(queue.get(timeout=60))
        process.join(30)
