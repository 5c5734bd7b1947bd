"""The real vLLM with options that an endpoint does not have by default, in one server."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine_requests import LOOP, ask, exposition
from engine_server import BOOT_SECONDS, UNCOMPILED, engine_settings, server_at
from hostile_requests import png, with_parts
from mistral_server.contract import EngineSettings
from server_runner import RunningServer

OPTIONS: dict[str, Any] = {
    "media_domains": ["127.0.0.1"],
    "speculation": {"tokens": 4, "lookup_min": 2, "lookup_max": 4},
}

BOMBS = {
    # more pixels than the endpoint allows, and more than Pillow opens
    "12000": "An image has more than 33554432 pixels: send a smaller one.",
    "30000": "An image has far too many pixels: send a smaller one.",
}


class Images(BaseHTTPRequestHandler):
    """Serves a square PNG of the side that the path names, in a file of a few hundred bytes."""

    def do_GET(self) -> None:
        """Send it."""
        side = int(self.path.strip("/"))
        content = png(side, side)
        self.send_response(200)
        self.send_header("content-type", "image/png")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Write no log."""


@pytest.fixture(scope="module")
def images() -> Iterator[str]:
    """Return the address of a host with images."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Images) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Return a ready server with all options."""
    directory: Path = tmp_path_factory.mktemp("options")
    values = engine_settings(directory).engine.model_dump() | OPTIONS
    engine = EngineSettings.model_validate(values)
    with server_at(directory, packages=(UNCOMPILED,), engine=engine) as started:
        started.until_ready(BOOT_SECONDS)
        yield started


@pytest.mark.parametrize("side", BOMBS)
def test_a_fetched_image_of_too_many_pixels_is_the_clients_mistake(
    server: RunningServer, images: str, side: str
) -> None:
    part = {"type": "image_url", "image_url": {"url": f"{images}/{side}"}}
    answer = ask(server, **with_parts(part))

    assert (answer.status, answer.json["error"]) == (
        400,
        {
            "message": BOMBS[side],
            "type": "invalid_request_error",
            "param": "messages",
            "code": "limit_exceeded",
        },
    )
    assert ask(server, max_tokens=2).status == 200


def test_a_loop_is_proposed_and_accepted(server: RunningServer) -> None:
    """The prompt has what the answer repeats, so that proposals are right from the beginning."""
    before = accepted(server)
    answer = ask(server, max_tokens=64, ignore_eos=True, **LOOP)

    assert answer.status == 200
    assert answer.json["usage"]["completion_tokens"] == 64
    assert accepted(server) - before > 32, "four of five tokens come without a step of their own"


def test_what_the_engine_cannot_sample_so_is_refused_by_the_gate(server: RunningServer) -> None:
    for fields in ({"logit_bias": {"7": 1.0}}, {"min_p": 0.1}):
        (param,) = fields
        through, past = ask(server, **fields), ask(server, raw=True, **fields)

        assert (through.status, through.json["error"]["param"]) == (400, param)
        assert (past.status, "speculative decoding" in past.body) == (400, True)
    assert ask(server, min_p=1e-5, logit_bias={}, max_tokens=2).status == 200


def test_tool_calls_schemas_and_stopped_loops_are_as_without(server: RunningServer) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["b"]}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    answer = ask(server, response_format=form, max_tokens=200, temperature=0)
    looping = ask(server, max_tokens=1500, loops="stop", ignore_eos=True, **LOOP)

    assert answer.status == 200
    assert looping.json["usage"]["completion_tokens"] < 600
    assert looping.finishes == ["length"]


def accepted(server: RunningServer) -> float:
    """Return how many proposed tokens were right so far."""
    values = re.findall(
        r"^vllm:spec_decode_num_accepted_tokens_total\{.*\} (\S+)$",
        exposition(server),
        re.MULTILINE,
    )
    return sum(map(float, values))
