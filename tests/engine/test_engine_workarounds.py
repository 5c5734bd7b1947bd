"""What vLLM's defects cost, and that the workarounds for them change nothing else.

The tokenizer of the tiny checkpoint has as many special tokens as Mistral-Small-3.2's, since what
vLLM does for each of them is what one of the defects is about.
"""

import itertools
from pathlib import Path
from typing import Any

import psutil

from engine_requests import CHAT, COMPLETIONS, SHAPES, ask, exposition, request_of
from engine_server import BOOT_SECONDS, StartServer, engine_settings
from joined_streams import joined, without_identity
from mistral_server.contract import EngineSettings
from mistral_server.engine.drop_info import NAME
from server_runner import RunningServer

REQUESTS = 40
"""Of each kind: CPU times come in steps of 10 ms, and a completion takes 1.5."""

MOST_TIMES_A_COMPLETION = 6.0
"""CPU of a chat in the API process, relative to a completion, which needs no parser. Measured: 1.5
to 3.5 with the workaround, 27 to 32 without."""


def api_cpu_seconds(server: RunningServer, path: str, **body: Any) -> float:
    """Return what the API process spends for a number of requests."""
    process = psutil.Process(server.pid_of("-m vllm.entrypoints"))
    before = process.cpu_times()
    for _ in range(REQUESTS):
        assert ask(server, path, max_tokens=1, **body).status == 200
    after = process.cpu_times()
    return (after.user - before.user) + (after.system - before.system)


def times_a_completion(server: RunningServer) -> float:
    """Return the CPU of a chat relative to that of a completion, in the API process."""
    for path in (CHAT, COMPLETIONS):
        ask(server, path, max_tokens=1)  # what only the first one needs
    return api_cpu_seconds(server, CHAT) / api_cpu_seconds(server, COMPLETIONS)


def workaround(server: RunningServer) -> dict[str, float]:
    """Return the metric of the workaround, by its label `active`."""
    name = f'mistral_engine_workarounds{{active="%s",name="{NAME}"}} '
    lines = exposition(server).splitlines()
    return {
        active: float(line.removeprefix(name % active))
        for active in ("true", "false")
        for line in lines
        if line.startswith(name % active)
    }


def test_a_chat_costs_the_api_process_little_more_than_a_completion(
    shared_server: RunningServer,
) -> None:
    assert workaround(shared_server) == {"true": 1, "false": 0}
    assert times_a_completion(shared_server) < MOST_TIMES_A_COMPLETION


def test_the_engine_as_it_comes_gives_the_same_answers_at_many_times_the_cost(
    shared_server: RunningServer, start_server: StartServer, tmp_path: Path
) -> None:
    values = engine_settings(tmp_path).engine.model_dump() | {"workarounds": "Disabled"}
    as_it_comes = start_server(engine=EngineSettings.model_validate(values))
    as_it_comes.until_ready(BOOT_SECONDS)

    assert workaround(as_it_comes) == {"true": 0, "false": 1}
    log = as_it_comes.output.read_text() + as_it_comes.errors.read_text()
    assert f"workaround {NAME} is not active: engine.workarounds is Disabled" in log
    assert times_a_completion(as_it_comes) > 2 * MOST_TIMES_A_COMPLETION
    for shape, stream in itertools.product(SHAPES, (False, True)):
        path, body = request_of(shape, stream)
        got, want = ask(shared_server, path, **body), ask(as_it_comes, path, **body)
        assert got.status == want.status == 200, (shape, stream)
        say = joined if stream else without_identity
        assert say(got.body) == say(want.body), (shape, stream)
