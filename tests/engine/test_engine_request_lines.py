"""The lines of requests of the real vLLM have the tokens that it counted itself."""

import json
import re
from collections import Counter
from typing import Any
from urllib.request import Request, urlopen

from engine_requests import CALL, CHAT, COMPLETIONS, LOOP, ask, exposition
from mistral_server.gate.request_log import LOGGER
from server_runner import RunningServer


def all_lines(server: RunningServer) -> list[dict[str, Any]]:
    """Return the lines of a server."""
    texts = server.output.read_text().splitlines()
    entries = [
        json.loads(text) for text in texts if text.startswith('{"time":') and text.endswith("}")
    ]
    return [one for one in entries if one["logger"] == LOGGER]


def lines(server: RunningServer) -> list[dict[str, Any]]:
    """Return the lines of a server that generated something."""
    return [one for one in all_lines(server) if one["generations"]]


def tokens(server: RunningServer) -> Counter[str]:
    """Return the engine's own counts."""
    samples = re.findall(
        r"^vllm:(prompt|generation)_tokens_total\{.*\} (\S+)$", exposition(server), re.MULTILINE
    )
    return Counter({name: int(float(value)) for name, value in samples})


def test_the_tokens_of_all_lines_are_those_that_the_engine_counted(
    shared_server: RunningServer,
) -> None:
    before, old = tokens(shared_server), len(lines(shared_server))
    for stream in (False, True):
        for path in (CHAT, COMPLETIONS):
            ask(shared_server, path, stream=stream)
            ask(shared_server, path, stream=stream, max_tokens=400, **LOOP)
        ask(shared_server, stream=stream, max_tokens=60, **CALL)
    # The client may have its response before the line is written.
    shared_server.until(lambda: len(lines(shared_server)) >= old + 10)
    new = lines(shared_server)[old:]
    after = tokens(shared_server)

    assert len(new) == 10
    assert sum(one["prompt_tokens"] for one in new) == after["prompt"] - before["prompt"]
    counted = after["generation"] - before["generation"]
    assert sum(one["completion_tokens"] for one in new) == counted
    assert [one["loops"] for one in new] == [0, 1, 0, 1, 0] * 2
    assert all(
        (one["first_token_milliseconds"] is not None) == (at >= 5) for at, one in enumerate(new)
    )


def test_what_a_client_on_loopback_claims_is_not_the_address_of_its_connection(
    shared_server: RunningServer,
) -> None:
    """uvicorn trusts proxies on 127.0.0.1 by default, where `kubectl port-forward` comes from."""
    url = f"http://127.0.0.1:{shared_server.settings.port}/v1/models"
    claims = {"X-Forwarded-For": "correct-horse, 203.0.113.7", "X-Request-Id": "of-a-proxy"}

    def line() -> list[dict[str, Any]]:
        return [one for one in all_lines(shared_server) if one["id"] == "of-a-proxy"]

    with urlopen(Request(url, headers=claims), timeout=60) as response:
        assert response.status == 200
    shared_server.until(lambda: bool(line()))

    (written,) = line()
    assert written["address"] == "127.0.0.1"
    assert written["forwarded_for"] == ["unknown", "203.0.113.7"]


def test_the_engine_exposes_no_series_about_when_others_were_created(
    shared_server: RunningServer,
) -> None:
    names = re.findall(r"^[a-zA-Z_:]+", exposition(shared_server), re.MULTILINE)

    assert "vllm:prompt_tokens_total" in names
    assert {name for name in names if name.endswith("_created")} == set()
