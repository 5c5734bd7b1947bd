"""SIGTERM while a stream is running: the stream comes to its end, then the server, with 0."""

import signal
import threading
import time

from mistral_dev.gpu.scenario import ScenarioContext, Step
from mistral_dev.gpu.scenarios.exits import expect_free
from mistral_dev.gpu.server import ApiResponse

_SECONDS = 60.0


def drain(context: ScenarioContext) -> None:
    """Stop a busy server."""
    server, scale = context.alive(), context.rig.scale
    responses: list[ApiResponse] = []

    def send() -> None:
        responses.append(
            context.chat("go", stream=True, max_tokens=scale.drain_tokens, ignore_eos=True)
        )

    client = threading.Thread(target=send)
    client.start()
    time.sleep(1.0)
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    end = server.wait_or_kill(_SECONDS)
    client.join(10)
    whole = bool(responses) and responses[0].text.rstrip().endswith("data: [DONE]")
    context.findings.check(
        "the stream comes to its end", whole, responses[0].text[-200:] if responses else ""
    )
    context.findings.equal("exit code", end.code, 0)
    context.findings.equal("processes left", end.processes_left, 0)
    context.findings.note(
        seconds=round(end.at - began, 1), host_memory_gib=round(server.memory_peak / 2**30, 1)
    )
    expect_free(context)


DRAIN = Step("drain", drain, _SECONDS + 30)
