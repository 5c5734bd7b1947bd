"""SIGTERM while a stream is running: the stream comes to its end, then the server, with 0."""

import signal
import threading
import time

from mistral_dev.gpu.scenario import Room, Step
from mistral_dev.gpu.scenarios.ends import expect_free
from mistral_dev.gpu.server import Reply

_SECONDS = 60.0


def drain(room: Room) -> None:
    """Stop a busy server."""
    server, scale = room.alive(), room.rig.scale
    replies: list[Reply] = []

    def ask() -> None:
        replies.append(room.chat("go", stream=True, max_tokens=scale.drain_tokens, ignore_eos=True))

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(1.0)
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    end = server.end(_SECONDS)
    asking.join(10)
    whole = bool(replies) and replies[0].text.rstrip().endswith("data: [DONE]")
    room.findings.check(
        "the stream comes to its end", whole, replies[0].text[-200:] if replies else ""
    )
    room.findings.equal("exit code", end.code, 0)
    room.findings.equal("processes left", end.processes_left, 0)
    room.findings.note(seconds=round(end.at - began, 1))
    expect_free(room)


DRAIN = Step("drain", drain, _SECONDS + 30)
