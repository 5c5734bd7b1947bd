"""`mistral-server detect-loop` and `check-tool-call`, on files."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mistral_server.cli.main import cli
from mistral_server.contract import LoopSettings
from tool_call_corpus import Entry, corpus
from tool_call_wire import as_transcript, request_of

LOOP = list(range(100, 110)) * 40
TEXT = "Step {}: now take the next step of the long way.\n"


def run(*arguments: object, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], input=stdin)


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def loop(**values: Any) -> dict[str, Any]:
    return dict.fromkeys(("kind", "period", "repetitions", "onset")) | {"looping": False} | values


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            json.dumps([1, 2, 3, *LOOP]),
            loop(looping=True, kind="exact", period=10, repetitions=40, onset=3, tokens=403)
            | {"unit": "token", "wasted": 390},
        ),
        (json.dumps(LOOP[:30]), loop(tokens=30, unit="token", wasted=0)),
        ("[]", loop(tokens=0, unit="token", wasted=0)),
        ("", loop(tokens=0, unit="character", wasted=0)),
        (
            "Well. " + "and so on, " * 200,
            loop(looping=True, kind="exact", period=11, repetitions=200, onset=5, tokens=2206)
            | {"unit": "character", "wasted": 2190},
        ),
        (
            "".join(TEXT.format(number) for number in range(10, 60)),
            loop(looping=True, kind="counter", period=48, repetitions=50, onset=0, tokens=2450)
            | {"unit": "character", "wasted": 0},
        ),
        ("[1, 2, -3]", loop(tokens=10, unit="character", wasted=0)),
        ('["a"]', loop(tokens=5, unit="character", wasted=0)),
    ],
)
def test_a_file_gets_a_line(tmp_path: Path, content: str, expected: dict[str, Any]) -> None:
    file = tmp_path / "generation"
    file.write_text(content)

    assert lines(run("detect-loop", file)) == [{"file": str(file), **expected}]
    assert lines(run("detect-loop", stdin=content)) == [{"file": "-", **expected}]


def test_several_files_and_another_rule(tmp_path: Path) -> None:
    files = []
    for number, repetitions in enumerate((2, 3)):
        files.append(tmp_path / str(number))
        files[-1].write_text(json.dumps(LOOP[:10] * repetitions))

    got = lines(run("detect-loop", *files, "--repeats", 3, "--min-tokens", 30))
    assert [one["looping"] for one in got] == [False, True]
    got = lines(run("detect-loop", *files, "--repeats=2", "--min-tokens=9", "--max-period=9"))
    assert [one["looping"] for one in got] == [False, False]


BOUNDS = {"repeats": 2, "min_tokens": 1, "max_period": 1}
"""The least values of the options of `detect-loop`."""


@pytest.mark.parametrize(("name", "least"), BOUNDS.items())
def test_a_rule_that_would_find_loops_everywhere_is_rejected(name: str, least: int) -> None:
    option = f"--{name.replace('_', '-')}"

    for value in (least - 1, -3):
        result = run("detect-loop", option, value, stdin="[]")
        assert result.exit_code == 2
        assert f"'{option}': {value} is not in the range x>={least}" in result.stderr
    assert run("detect-loop", option, least, stdin="[]").exit_code == 0


@pytest.mark.parametrize("name", ["repeats", "min_tokens"])
def test_the_rule_has_the_bounds_of_the_settings(name: str) -> None:
    schema = LoopSettings.model_json_schema()["properties"]

    assert schema[name]["minimum"] == BOUNDS[name]


def test_an_unreadable_file_is_reported_and_the_others_are_evaluated(tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.write_bytes(b"\xff\xfe not UTF-8")
    result = run("detect-loop", tmp_path / "nowhere", good)

    assert result.exit_code == 1
    assert "nowhere" in result.stderr
    assert json.loads(result.stdout)["file"] == str(good)


CORPUS = corpus()


def test_every_answer_of_the_corpus_gets_the_outcomes_that_the_gate_gives_it(
    tmp_path: Path,
) -> None:
    wrong = []
    for entry in CORPUS:
        request, response = tmp_path / "request.json", tmp_path / "response"
        request.write_text(json.dumps(request_of(entry)))
        response.write_bytes(as_transcript(entry))
        (got,) = lines(run("check-tool-call", "--request", request, "--response", response))
        expected = [{"name": name, "outcome": outcome} for name, outcome in entry.outcomes]
        if (got["calls"], got["request_outcome"]) != (expected, entry.request_outcome):
            wrong.append((entry.title, entry.stream, got))

    assert wrong == []


def some_entry(*, stream: bool) -> Entry:
    return next(one for one in CORPUS if one.stream is stream)


@pytest.mark.parametrize(
    ("limit", "finish", "used", "outcome"),
    [
        ({"max_tokens": 20}, "tool_calls", 20, "truncated"),
        ({"max_completion_tokens": 20}, "tool_calls", 20, "truncated"),
        ({"max_tokens": 20}, "tool_calls", 19, "ok"),
        ({}, "tool_calls", 20, "ok"),
        ({"max_tokens": 20}, "length", 20, "truncated"),
    ],
)
def test_without_token_ids_the_number_of_tokens_shows_truncation(
    tmp_path: Path, limit: dict[str, int], finish: str, used: int, outcome: str
) -> None:
    entry = some_entry(stream=False)
    request, response = tmp_path / "request.json", tmp_path / "response.json"
    request.write_text(json.dumps(request_of(entry) | limit))
    answer = json.loads(as_transcript(entry))
    del answer["choices"][0]["token_ids"]
    answer["choices"][0]["finish_reason"] = finish
    response.write_text(json.dumps(answer | {"usage": {"completion_tokens": used}}))

    (got,) = lines(run("check-tool-call", "--request", request, "--response", response))
    assert [call["outcome"] for call in got["calls"]] == [outcome]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_stream_may_have_been_through_an_editor(tmp_path: Path, newline: str) -> None:
    entry = some_entry(stream=True)
    request, response = tmp_path / "request.json", tmp_path / "stream.txt"
    request.write_text(json.dumps(request_of(entry)))
    text = as_transcript(entry).decode().rstrip().replace("\n", newline)
    response.write_bytes(f"{newline}{text}".encode())

    (got,) = lines(run("check-tool-call", "--request", request, "--response", response))
    assert got["request_outcome"] == entry.request_outcome


@pytest.mark.parametrize(
    ("request_text", "response", "says"),
    [
        ("{", "{}", "not a chat request"),
        ("[]", "{}", "not a chat request"),
        ('{"messages":[]}', "{}", "offers no tools"),
        (None, '{"choices": []}', "the response is not complete"),
        (None, '{"choices": 7}', "Expected `array`"),
        (None, "hello", "neither JSON nor"),
        (None, "", "neither JSON nor"),
    ],
)
def test_an_invalid_request_or_response_is_reported(
    tmp_path: Path, request_text: str | None, response: str, says: str
) -> None:
    request_file, response_file = tmp_path / "request.json", tmp_path / "response.json"
    entry = some_entry(stream=False)
    request_file.write_text(request_text or json.dumps(request_of(entry)))
    response_file.write_text(response)
    result = run("check-tool-call", "--request", request_file, "--response", response_file)

    assert result.exit_code == 1
    assert says in result.stderr
    assert result.stdout == ""
