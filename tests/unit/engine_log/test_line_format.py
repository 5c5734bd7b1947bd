"""All lines of a pod have one format, whichever program wrote them."""

import json
import os
import re
from typing import Any, Literal

import pytest

from mistral_server.engine_log.line_format import LineFormat
from mistral_server.engine_log.output import Output

VLLM = "(EngineCore pid=12) WARNING 11-29 15:25:15 [core.py:88] The cache is small"
UVICORN = "INFO:     Started server process [7]"
TRACEBACK = '  File "x.py", line 1, in f'
REQUEST = '{"time":"2026-11-30T12:00:04.127Z","level":"info","logger":"mistral_server.requests"}'
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}"


def entries(*lines: str) -> list[dict[str, Any]]:
    """Return lines as they are in JSON."""
    line_format = LineFormat("JSON")
    return [json.loads(line_format(one)) for one in lines]


def test_a_line_of_vllm_has_its_level_process_and_text() -> None:
    (entry,) = entries(VLLM)

    assert re.fullmatch(STAMP, entry.pop("time"))
    assert entry == {
        "level": "warning",
        "logger": "vllm",
        "message": "The cache is small",
        "process": "EngineCore",
    }


def test_a_line_without_a_level_has_that_of_the_line_before() -> None:
    results = entries(TRACEBACK, "ERROR 11-29 15:25:15 [x.py:1] It failed", TRACEBACK, UVICORN)

    assert [one["level"] for one in results] == ["info", "error", "error", "info"]
    assert [one["message"] for one in results][2:] == [TRACEBACK, "Started server process [7]"]


@pytest.mark.parametrize("kind", ["Text", "JSON"])
def test_the_line_of_a_request_stays_as_it_is(kind: Literal["Text", "JSON"]) -> None:
    assert LineFormat(kind)(REQUEST) == f"{REQUEST}\n".encode()


def test_a_line_of_text_has_a_zone() -> None:
    text = LineFormat("Text")(VLLM).decode()

    assert re.fullmatch(STAMP + r" WARNING vllm\(EngineCore\): The cache is small\n", text)


@pytest.mark.parametrize("line", ["\x1b[31mred", "ü\u202e", "a\ud800", '"}', "x" * 16_384])
def test_no_line_forges_another(line: str) -> None:
    (entry,) = entries(line)

    assert entry["message"] == line
    assert LineFormat("Text")(line).count(b"\n") == 1


@pytest.mark.parametrize("kind", ["Text", "JSON", None])
def test_the_observer_reads_what_the_engine_wrote(kind: Literal["Text", "JSON"] | None) -> None:
    source, engine = os.pipe()
    reader, sink = os.pipe()
    observed: list[str] = []
    output = Output(source, sink, observed.append, LineFormat(kind) if kind else None)
    os.write(engine, f"{VLLM}\n{REQUEST}\n{TRACEBACK}".encode())
    os.close(engine)
    output.wait(10)
    os.close(sink)
    written = os.read(reader, 65_536).decode()
    os.close(reader)

    assert observed == [VLLM, REQUEST, TRACEBACK]
    if kind is None:
        assert written == f"{VLLM}\n{REQUEST}\n{TRACEBACK}"
    elif kind == "JSON":
        assert [json.loads(one)["level"] for one in written.splitlines()] == [
            *("warning", "info", "warning"),
        ]
    else:
        assert [one[:4] for one in written.splitlines()][1] == REQUEST[:4]
