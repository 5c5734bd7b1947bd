"""The commands of docs/gate.md for logs count and show lines of requests, and no others."""

import logging
import re
from pathlib import Path
from typing import Literal

import jq  # type: ignore[import-not-found]  # compiled, without types
import pytest

from mistral_dev.paths import CHECKOUT
from mistral_server.contract import OPEN_PATHS
from mistral_server.contract.public_log import formatter
from mistral_server.engine_log.line_format import LineFormat
from mistral_server.gate.request_log import RequestLine, RequestLog

ENGINE = (
    "(APIServer pid=7) INFO 11-30 12:00:00 [api_server.py:1] Starting vLLM server",
    "INFO:     Application startup complete.",
    "(EngineCore pid=9) ERROR 11-30 12:00:01 [core.py:2] Traceback (most recent call last):",
    '{"time":"2026-11-30T12:00:02.000Z","level":"info"}',
    '{"time":"2026-11-30T12:00:02.000Z","logger":"other","client":"team-a"}',
    *("{}", "[1]", "7", "null", '"text"', "", "{", '{"logger":["mistral_server.requests"]}'),
)
"""Lines of the engine, some of which are JSON themselves."""


def command(options: str) -> str:
    """Return the program in docs/gate.md for jq with some options."""
    text = (CHECKOUT / "docs" / "gate.md").read_text()
    pattern = rf"^ {{4}}\$ kubectl logs [^|]+\| jq {options} '([^']+)'$"
    (program,) = re.findall(pattern, text, re.MULTILINE)
    return str(program)


def request_line(
    client: str | None, tokens: int | None, result: str = "2xx", milliseconds: float = 1.0
) -> RequestLine:
    """Return the line of a request."""
    return RequestLine(
        client=client,
        address="10.1.2.3",
        forwarded_for=None,
        method="POST",
        path="/v1/chat/completions",
        status=200,
        result=result,
        milliseconds=milliseconds,
        first_token_milliseconds=None,
        prompt_tokens=tokens,
        completion_tokens=tokens,
        generations=1,
        finish="stop",
        loops=0,
        loop=None,
        tools=None,
        refused=None,
        id="x",
    )


def others(kind: Literal["Text", "JSON"] | None) -> bytes:
    """Return what engine and supervisor log in a format."""
    if kind is None:
        return "".join(f"{line}\n" for line in ENGINE).encode()
    message = "the engine is starting"
    record = logging.LogRecord("mistral_server", logging.INFO, "", 0, message, None, None)
    form = LineFormat(kind)
    own = formatter(as_json=kind == "JSON").format(record)
    return b"".join(form(line) for line in ENGINE) + f"{own}\n".encode()


@pytest.mark.parametrize("kind", [None, "Text", "JSON"])
def test_the_command_counts_the_requests_of_each_client_whatever_else_is_logged(
    tmp_path: Path, kind: Literal["Text", "JSON"] | None
) -> None:
    log = tmp_path / "log"
    with log.open("wb", buffering=0) as file:
        requests = RequestLog(OPEN_PATHS, file.fileno())
        for client, tokens in (("team-a", 97), ("team-b", 3), ("team-a", None), (None, None)):
            file.write(others(kind))
            requests.write(request_line(client, tokens))

    assert jq.compile(command("-sR")).input_value(log.read_text()).first() == [
        {"client": None, "requests": 1, "tokens": 0},
        {"client": "team-a", "requests": 2, "tokens": 97},
        {"client": "team-b", "requests": 1, "tokens": 3},
    ]


@pytest.mark.parametrize("kind", [None, "Text", "JSON"])
def test_the_command_shows_the_requests_that_failed_or_were_slow(
    tmp_path: Path, kind: Literal["Text", "JSON"] | None
) -> None:
    log = tmp_path / "log"
    with log.open("wb", buffering=0) as file:
        requests = RequestLog(OPEN_PATHS, file.fileno())
        for client, result, milliseconds in (
            ("fine", "2xx", 29_000.0),
            ("failed", "5xx", 3.0),
            ("cut", "cut", 4.0),
            ("slow", "2xx", 31_000.0),
            ("rejected", "4xx", 1.0),
        ):
            file.write(others(kind))
            requests.write(request_line(client, 7, result, milliseconds))

    program = jq.compile(command("-cR"))
    shown = [one for line in log.read_text().split("\n") for one in program.input_value(line)]

    assert [(one["client"], one["result"], one["milliseconds"]) for one in shown] == [
        ("failed", "5xx", 3.0),
        ("cut", "cut", 4.0),
        ("slow", "2xx", 31_000.0),
    ]
