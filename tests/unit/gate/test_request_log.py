"""The line of a request says who called and what came of it, and never what was said."""

import contextlib
import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gate_engine import (
    CHAT,
    COMPLETIONS,
    Counted,
    FakeEngine,
    ask,
    call,
    choice,
    chunk,
    gate,
    words,
)
from mistral_server.contract import API_KEYS_FILE, OPEN_PATHS
from mistral_server.gate.api_keys import ApiKeys
from mistral_server.gate.request_log import RequestLine, RequestLog
from request_lines import Line, lines

USER = {"role": "user", "content": "Hi"}
BODY: dict[str, Any] = {"messages": [USER]}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
CANARY = "canary0123456789abcdef"
WORDS = "correct-horse"
"""A secret of words, as passphrases are."""


def keys(directory: Path, text: str) -> str:
    """Write a file with API keys; return its directory."""
    (directory / API_KEYS_FILE).write_text(text)
    return str(directory)


async def line_of(
    capfd: pytest.CaptureFixture[str], engine: Any, *arguments: Any, **more: Any
) -> Line:
    """Return the line of one request."""
    with contextlib.suppress(RuntimeError):
        await ask(gate(engine), *arguments, **more)
    (line,) = lines(capfd)
    return line


async def test_a_line_of_a_chat_has_every_field(
    configure: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    line = await line_of(capfd, FakeEngine(), BODY, headers=[("X-Request-Id", "my-id-1")])

    assert list(line) == [
        *("time", "level", "logger", "client", "address", "forwarded_for"),
        *("method", "path", "status", "result"),
        *("milliseconds", "first_token_milliseconds", "prompt_tokens", "completion_tokens"),
        *("generations", "finish", "loops", "loop", "tools", "refused", "id"),
    ]
    assert line["time"].endswith("Z")
    assert 0 <= line["milliseconds"] < 10_000
    fixed = ("method", "path", "status", "result", "generations", "finish", "id")
    assert [line[name] for name in fixed] == ["POST", CHAT, 200, "2xx", 1, "stop", "my-id-1"]


async def test_a_line_has_the_addresses_that_proxies_report(
    configure: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    through = [("X-Forwarded-For", "203.0.113.7, 10.0.0.4")]
    line = await line_of(capfd, FakeEngine(), BODY, headers=through)

    assert line["forwarded_for"] == ["203.0.113.7", "10.0.0.4"]
    assert (await line_of(capfd, FakeEngine(), BODY))["forwarded_for"] is None


async def test_a_stream_has_the_time_of_its_first_event_and_its_tokens(
    configure: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = FakeEngine(chunks=[*words(5), chunk({}, [2], "stop")])
    line = await line_of(capfd, engine, {**BODY, "stream": True})

    assert 0 <= line["first_token_milliseconds"] <= line["milliseconds"]
    assert (line["prompt_tokens"], line["completion_tokens"]) == (3, 6)


async def test_a_response_in_one_piece_has_the_tokens_that_the_engine_counted(
    configure: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    async def counts(scope: Any, receive: Any, send: Any) -> None:
        answer = {"choices": [choice()], "usage": {"prompt_tokens": 11, "completion_tokens": 7}}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    line = await line_of(capfd, counts, BODY)

    assert (line["prompt_tokens"], line["completion_tokens"]) == (11, 7)
    assert line["first_token_milliseconds"] is None


async def test_a_loop_is_in_the_line(configure: Any, capfd: pytest.CaptureFixture[str]) -> None:
    line = await line_of(capfd, FakeEngine(chunks=words(600)), {**BODY, "stream": True})

    assert (line["loops"], line["loop"]) == (1, "exact")


async def test_the_outcome_of_tools_is_in_the_line(
    configure: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    called = FakeEngine(choices=[choice(None, call("g", "{}"), finish="tool_calls")])
    line = await line_of(capfd, called, {**BODY, "tools": TOOLS})

    assert line["tools"] == "unknown_tool"


async def test_a_rejected_request_says_why(
    configure: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    line = await line_of(capfd, FakeEngine(), {**BODY, "n": 999})

    assert (line["status"], line["refused"]) == (400, "choices")


ERROR = {"error": {"message": "the engine died", "type": "InternalServerError", "code": 500}}
"""As vLLM reports within a stream that it failed."""


async def test_an_error_within_a_stream_is_cut_off(
    configure: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with Counted() as counted:
        line = await line_of(capfd, FakeEngine(chunks=[*words(3), ERROR]), {**BODY, "stream": True})

    assert (line["status"], line["result"]) == (200, "cut")
    assert counted.responses() == {"cut": 1}


async def test_a_client_that_left_before_a_response_has_no_status(
    configure: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    async def leaves(scope: Any, receive: Any, send: Any) -> None:
        return

    line = await line_of(capfd, leaves, b"", "/v1/models", "GET")

    assert (line["status"], line["result"]) == (None, "disconnected")


async def test_lines_can_be_turned_off(configure: Any, capfd: pytest.CaptureFixture[str]) -> None:
    configure(logs={"requests": False})
    with Counted() as counted:
        await ask(gate(FakeEngine()), BODY)

    assert lines(capfd) == []
    assert counted.responses() == {"2xx": 1}


NAMED = """\
first-key
# client: team-a
a-key-1
# a-key-0, out of use
a-key-2
#client:team-b

b-key
# client: not a name
other-key
"""


@pytest.mark.parametrize(
    ("key", "client"),
    [
        ("first-key", None),
        ("a-key-1", "team-a"),
        ("a-key-2", "team-a"),
        ("b-key", "team-b"),
        ("other-key", "team-b"),
    ],
)
async def test_a_comment_names_the_client_of_the_keys_below_it(
    configure: Any,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    key: str,
    client: str | None,
) -> None:
    configure(gate={"api_keys": keys(tmp_path, NAMED)})
    line = await line_of(capfd, FakeEngine(), BODY, headers=[("Authorization", f"Bearer {key}")])

    assert (line["status"], line["client"]) == (200, client)


@pytest.mark.parametrize("key", ["team-a", "# client: team-a", "client: team-a", "a-key-0"])
def test_a_name_is_no_key(tmp_path: Path, key: str) -> None:
    api_keys = ApiKeys(keys(tmp_path, NAMED))

    assert api_keys.client(f"Bearer {key}".encode()) is None
    assert api_keys.client(b"Bearer a-key-1") is not None


async def test_a_wrong_key_has_no_client(
    configure: Any, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    configure(gate={"api_keys": keys(tmp_path, NAMED)})
    line = await line_of(capfd, FakeEngine(), BODY, headers=[("Authorization", f"Bearer {CANARY}")])

    assert (line["status"], line["client"], line["refused"]) == (401, None, "api_key")


OPEN = (*OPEN_PATHS, "/v1/responses", "/v2/*")
PATHS = {
    **{path: path for path in OPEN},
    "/v1/models/mistral-small": "/v1/models/*",
    "/v1/models/": "/v1/models/*",
    "/v2/a/b": "/v2/*",
    "/v2": "other",
    "/v1/responses/secret": "other",
    "/v1/chat/completions/": "other",
    "/v1//chat/completions": "other",
    "/hunter": "other",
    "/v1/key/correct-horse/battery_staple": "other",
    f"/{CANARY}": "other",
    '/a"\r\n\x1b[31mü': "other",
    "/" * 50: "other",
    "x" * 100_000: "other",
    "": "other",
}


@pytest.mark.parametrize(
    ("path", "shown"), PATHS.items(), ids=[str(number) for number in range(len(PATHS))]
)
def test_a_path_is_shown_if_it_is_open(path: str, shown: str) -> None:
    assert RequestLog(OPEN).shown_path(path) == shown


@pytest.mark.parametrize(
    "path", [f"/{WORDS}", f"/v1/{WORDS}", f"/v1/models/{WORDS}", f"/v2/{WORDS}"]
)
async def test_a_word_in_a_path_that_the_configuration_does_not_have_is_not_shown(
    configure: Any, capfd: pytest.CaptureFixture[str], path: str
) -> None:
    configure(gate={"paths": OPEN})
    for method in ("GET", "POST", WORDS.upper()):
        line = await line_of(capfd, FakeEngine(), b"", path, method)
        assert WORDS not in json.dumps(line).lower(), line


def planted() -> list[tuple[FakeEngine, dict[str, Any]]]:
    """Return requests with a canary wherever a client or the model can write one."""
    user = {"role": "user", "content": CANARY}
    tool = {"type": "function", "function": {"name": CANARY, "parameters": {"title": CANARY}}}
    answer = choice(CANARY, call(CANARY, json.dumps({CANARY: CANARY})), finish=CANARY)
    streamed = [*words(2, CANARY), chunk({"content": CANARY}, [5], CANARY)]
    body = {"messages": [user], "model": CANARY, "user": CANARY, "tools": [tool]}
    error = {"error": {"message": CANARY, "type": CANARY, "code": CANARY}}
    headers = [("Authorization", f"Bearer {CANARY}"), ("X-Mistral-Loops", CANARY)]
    return [
        (FakeEngine(choices=[answer]), {"body": body}),
        (FakeEngine(chunks=streamed), {"body": {**body, "stream": True}}),
        (FakeEngine(chunks=[error]), {"body": {**body, "stream": True}}),
        (FakeEngine(status=500), {"body": {"messages": CANARY}}),
        (FakeEngine(), {"body": CANARY.encode(), "headers": headers}),
        (FakeEngine(), {"body": b"", "path": f"/v1/{CANARY}", "method": CANARY}),
        (FakeEngine(), {"body": body, "headers": [("X-Request-Id", f"{CANARY} x")]}),
        (FakeEngine(), {"body": {"prompt": CANARY}, "path": COMPLETIONS}),
    ]


async def test_no_line_has_content_of_a_client_or_the_model_or_a_key(
    configure: Any, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for settings in ({}, {"api_keys": keys(tmp_path, f"# {CANARY}\nkey\n{CANARY}\n")}):
        configure(gate=settings)
        for engine, request in planted():
            claims = [(name, CANARY) for name in ("Authorization", "X-Forwarded-For", "Forwarded")]
            headers = [*claims, *request.get("headers", [])]
            line = await line_of(capfd, engine, **{**request, "headers": headers})
            assert "canary" not in json.dumps(line), line


def mixed(draw: random.Random) -> tuple[Any, dict[str, Any]]:
    """Return one of many kinds of requests, and what answers it."""

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError

    async def fails_within(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError

    stream = {**BODY, "stream": True}
    tools = {**BODY, "tools": TOOLS}
    good, bad = call("f", "{}"), call("g", "{")
    kinds: list[tuple[Any, dict[str, Any]]] = [
        (FakeEngine(), {"body": BODY}),
        (FakeEngine(choices=[choice(index=0), choice(index=1)]), {"body": {**BODY, "n": 2}}),
        (FakeEngine(chunks=[*words(9), chunk({}, [2], "stop")]), {"body": stream}),
        (FakeEngine(chunks=words(300)), {"body": stream}),
        (FakeEngine(chunks=words(40)), {"body": stream, "leaves_after": 9}),
        (FakeEngine(chunks=[*words(3), ERROR]), {"body": stream}),
        (FakeEngine(choices=[choice(None, good, finish="tool_calls")]), {"body": tools}),
        (FakeEngine(choices=[choice(None, good, bad, finish="tool_calls")]), {"body": tools}),
        (FakeEngine(choices=[choice("no call")]), {"body": tools}),
        (FakeEngine(choices=[choice(ids=[7] * 400, finish="length")]), {"body": BODY}),
        (FakeEngine(status=500), {"body": BODY}),
        (FakeEngine(status=400), {"body": BODY}),
        (fails, {"body": BODY}),
        (fails_within, {"body": BODY}),
        (FakeEngine(), {"body": b"{"}),
        (FakeEngine(), {"body": {**BODY, "n": 999}}),
        (FakeEngine(), {"body": b"", "path": "/v1/models", "method": "GET"}),
        (FakeEngine(), {"body": b"", "path": "/v1/responses", "method": "POST"}),
        (FakeEngine(), {"body": b"", "path": "/health", "method": "GET"}),
        (FakeEngine(), {"body": {"prompt": "Hi"}, "path": COMPLETIONS}),
    ]
    return draw.choice(kinds)


def totals(written: list[Line]) -> dict[str, float]:
    """Return what lines add up to, by the name of the metric and its label."""
    sums: Counter[str] = Counter()
    for line in written:
        sums[f"responses_total {line['result']}"] += 1
        sums["generations_total"] += line["generations"]
        sums["generation_loops_total"] += line["loops"]
        if line["tools"]:
            sums[f"tool_requests_total {line['tools']}"] += 1
        if line["refused"]:
            sums[f"requests_refused_total {line['refused']}"] += 1
    return {name: number for name, number in sums.items() if number}


def counted_by(counted: Counted) -> dict[str, float]:
    """Return the same of metrics."""
    sums: Counter[str] = Counter()
    sums.update({f"responses_total {name}": int(by) for name, by in counted.responses().items()})
    for name, by in counted.moved().items():
        metric, _, labels = name.rstrip("}").partition("{")
        if metric in {"generations_total", "generation_loops_total"}:
            sums[metric] += int(by)
        if metric in {"tool_requests_total", "requests_refused_total"}:
            sums[f"{metric} {labels.partition('=')[2]}"] += int(by)
    return dict(sums)


async def test_the_lines_of_1000_requests_add_up_to_the_metrics(
    configure: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    draw = random.Random(1)
    written: list[Line] = []
    with Counted() as counted:
        for _ in range(1000):
            engine, request = mixed(draw)
            with contextlib.suppress(RuntimeError):
                await ask(gate(engine), **request)
            written += lines(capfd)

    added = totals(written)
    assert added == counted_by(counted)
    assert {name.partition(" ")[0] for name in added} == {
        *("responses_total", "generations_total", "generation_loops_total"),
        *("tool_requests_total", "requests_refused_total"),
    }


def test_a_log_that_is_closed_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = RequestLog((), writer)
    for _ in range(3):
        log.write(a_line())
    os.close(writer)

    assert caplog.text.count("Lines of requests are lost") == 1


def a_line() -> RequestLine:
    """Return a line to write."""
    return RequestLine(
        client=None,
        address=None,
        forwarded_for=None,
        method="GET",
        path="/",
        status=200,
        result="2xx",
        milliseconds=1.0,
        first_token_milliseconds=None,
        prompt_tokens=None,
        completion_tokens=None,
        generations=0,
        finish=None,
        loops=0,
        loop=None,
        tools=None,
        refused=None,
        id="x",
    )
