"""The gate inside the real vLLM: what it counts is what the client saw, and what it changes.

The model's weights are random. It loops by itself at temperature 0; `allowed_token_ids` forces a
loop, and `logit_bias` on the format's control tokens forces tool calls.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from gate_counts import counts_in, gate_counts
from joined_streams import joined, without_identity
from mistral_server.contract import SERVER_TOKEN_ENV, SERVER_TOKEN_HEADER
from prometheus_server import Prometheus, Target
from server_runner import RunningServer, streaming
from tapped.engine_tap import TAP_HEADER

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
ALL_AT_ONCE = 8
"""Sequences that these servers compute at the same time."""
LEFT = 8 * ALL_AT_ONCE
"""Generations of a client that does not wait for them."""

LOOP: dict[str, Any] = {"allowed_token_ids": [1100], "temperature": 0}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
        "strict": True,
    },
}
TOOLS: dict[str, Any] = {"tools": [TOOL], "parallel_tool_calls": False}
CALL: dict[str, Any] = {"logit_bias": {"9": 90, "32": 90, "2": 100, "1125": 60}, **TOOLS}
"""A call that ends: [TOOL_CALLS], [ARGS], end of sequence and a closing brace."""
ENDLESS_CALL: dict[str, Any] = {
    "logit_bias": {"9": 90, "32": 90, "2": -100},
    "temperature": 0,
    "max_tokens": 60,
    "tools": [
        {
            "type": "function",
            "function": {
                **TOOL["function"],
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string", "minLength": 1000}},
                    "required": ["city"],
                    "additionalProperties": False,
                },
            },
        }
    ],
    "parallel_tool_calls": False,
}
"""A call whose arguments have no end yet. Random weights say other things on other CPUs, and on one
kind they closed an object that may be empty."""


@dataclass
class Answer:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        """The answer, decoded."""
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The events of a stream."""
        data = [line.removeprefix("data: ") for line in self.body.splitlines() if line]
        assert data[-1] == "[DONE]"
        return [json.loads(one) for one in data[:-1]]

    @property
    def finishes(self) -> list[str]:
        """How each choice ended, as the client reads it."""
        answers = self.events if self.body.startswith("data:") else [self.json]
        choices = [choice for answer in answers for choice in answer["choices"]]
        return [one["finish_reason"] for one in choices if one.get("finish_reason")]

    @property
    def tool_name(self) -> str:
        """The name of the first call, as the client puts it together."""
        answers = self.events if self.body.startswith("data:") else [self.json]
        said = [
            one.get("delta") or one.get("message") for each in answers for one in each["choices"]
        ]
        calls = [call for each in said for call in each.get("tool_calls") or ()]
        return "".join(call["function"].get("name") or "" for call in calls)


def ask(
    server: RunningServer,
    path: str = CHAT,
    raw: bool = False,
    loops: str = "",
    tap: Path | None = None,
    **body: Any,
) -> Answer:
    """Send a request; `raw` goes past the gate, as the supervisor's own requests do.

    What the engine answers, before the gate sees it, is written to `tap`.
    """
    said = {"prompt": "Hi"} if path == COMPLETIONS else {"messages": [user("Hi")]}
    headers = {"content-type": "application/json"}
    if raw:
        headers[SERVER_TOKEN_HEADER] = token(server)
    if loops:
        headers["X-Mistral-Loops"] = loops
    if tap is not None:
        headers[TAP_HEADER] = str(tap)
    request = Request(
        f"http://127.0.0.1:{server.settings.port}{path}",
        json.dumps({"model": "tiny", "max_tokens": 8, **said, **body}).encode(),
        headers,
    )
    try:
        with urlopen(request, timeout=120) as answer:  # noqa: S310 - our own loopback address
            sent = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, sent, answer.read().decode())
    except HTTPError as error:
        return Answer(error.code, {}, error.read().decode())


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def token(server: RunningServer) -> str:
    """Return the supervisor's token, from the environment of the engine."""
    pid = server.pid_of("-m vllm.entrypoints")
    content = Path(f"/proc/{pid}/environ").read_bytes()
    variables = dict(one.partition(b"=")[::2] for one in content.split(b"\0"))
    return variables[SERVER_TOKEN_ENV.encode()].decode()


def exposition(server: RunningServer) -> str:
    """Return the metrics of the API, the gate's among them."""
    return server.get("/metrics", health=False)[1]


def test_what_is_counted_is_what_the_client_saw(
    shared_server: RunningServer, tmp_path: Path
) -> None:
    the_counts_are_the_clients(shared_server, tmp_path)


def the_counts_are_the_clients(server: RunningServer, folder: Path) -> None:
    """Send requests of many kinds; a Prometheus then has the counts that the client made."""
    before = gate_counts(exposition(server))
    expected: Counter[str] = Counter()

    def generations(answer: Answer, *reasons: str) -> None:
        for reason in reasons or answer.finishes:
            expected[f"generations_total{{finish_reason={reason}}}"] += 1

    def looped(tokens: int, action: str = "observed") -> None:
        expected[f"generation_loops_total{{action={action},kind=exact}}"] += 1
        expected["generation_loop_tokens_total"] += tokens

    def called(outcome: str, request: str, stream: bool) -> None:
        streamed = str(stream).lower()
        expected[f"tool_calls_total{{outcome={outcome},stream={streamed}}}"] += 1
        expected[f"tool_requests_total{{outcome={request}}}"] += 1

    for stream in (False, True):
        for path in (CHAT, COMPLETIONS):
            generations(ask(server, path, stream=stream))
            generations(ask(server, path, stream=stream, max_tokens=400, **LOOP))
            looped(399)
        two = ask(server, stream=stream, n=2, temperature=1)
        assert len(two.finishes) == 2
        generations(two)

        good = ask(server, stream=stream, max_tokens=60, **CALL)
        assert good.finishes == ["tool_calls"]
        generations(good)
        # vLLM strips the white space that random weights put behind a name, but not in a stream.
        stray = good.tool_name != "get_weather"
        assert stray is False or stream
        outcome, of_request = ("unknown_tool",) * 2 if stray else ("ok", "valid")
        called(outcome, of_request, stream)

        cut = ask(server, stream=stream, **ENDLESS_CALL)
        assert cut.finishes == ["length"]
        generations(cut)
        called("truncated", "invalid_args", stream)

        silent = ask(server, stream=stream, max_tokens=300, **LOOP, **TOOLS)
        generations(silent)
        looped(299)
        expected["tool_requests_total{outcome=no_call}"] += 1

        stopped = ask(server, stream=stream, max_tokens=1900, loops="stop", **LOOP)
        assert stopped.finishes == ["length"]
        generations(stopped, "repetition")
        looped(511, "stopped")

    # Half a minute of work: a busy machine sends nothing for seconds, and then all that was said
    # meanwhile in one event. The client leaves with the event that opens the last choice, and each
    # generation has to be counted once.
    stream_ = server.stream(1900, n=LEFT, **LOOP | {"temperature": 1})
    for _ in range(LEFT):
        assert b'"role":"assistant"' in next(stream_)
    stream_.close()  # type: ignore[attr-defined]
    expected["generations_total{finish_reason=abort}"] += LEFT
    assert ask(server, temperature=-1).status == 400

    rules = folder / "no-rules.yaml"
    rules.write_text("groups: []")
    target = Target(lambda: exposition(server).encode(), labels={})
    aborts = "generations_total{finish_reason=abort}"
    # Two API processes add their metrics up in more than a second on a busy machine.
    with Prometheus(folder, {"vllm": target}, rules, scrape_seconds=5) as prometheus:
        prometheus.until(lambda: counts_in(prometheus)[aborts] > before[aborts], seconds=60)
        got = counts_in(prometheus)
    got.subtract(before)
    got = +got
    # How many tokens reached a client that left is for the network to know.
    assert got.pop("generation_loop_tokens_total") >= expected.pop("generation_loop_tokens_total")
    aborted = "generation_loops_total{action=observed,kind=exact}"
    assert 0 <= got.pop(aborted) - expected.pop(aborted) <= LEFT
    # A server that gets no CPU hears late that a client left: some have ended by their limit then.
    lengths = "generations_total{finish_reason=length}"
    ended = got[lengths] - expected[lengths]
    assert 0 <= ended < LEFT
    assert got == expected + Counter({lengths: ended}) - Counter({aborts: ended})


SHAPES: dict[str, dict[str, Any]] = {
    "chat": {},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "usage": {"stream_options": {"include_usage": True}},
    "call": {"max_tokens": 60, **CALL},
    "required": {"max_tokens": 60, "tool_choice": "required", **CALL},
    "stop": {"stop": ["a", "e"], "max_tokens": 40},
    "own token ids": {"return_token_ids": True},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
    "loop": {"max_tokens": 300, **LOOP},
    "completion": {"prompt": "Hi"},
    "echo": {"prompt": "Hi", "echo": True},
}
OWN = {"role": "system", "content": "X"}  # the gate would add the deployment's
TOKEN_IDS = ("prompt_token_ids", "token_ids")


def events(body: str, *, token_ids: bool = True) -> list[str]:
    """Return the events of a stream, or the one part of an answer that is not streamed.

    Without `token_ids` they are as if the request had not asked for those: vLLM then sends nothing
    for tokens whose text the parser of tool calls holds back.
    """
    found = []
    for part in body.strip().split("\n\n"):
        prefix, brace, rest = part.partition("{")
        event = json.loads(brace + rest) if brace else {"choices": []}
        if not token_ids:
            if event["choices"] and all(is_empty(choice) for choice in event["choices"]):
                continue
            for holder in (event, *event["choices"]):
                holder.update({key: None for key in TOKEN_IDS if key in holder})
        found.append(prefix + json.dumps(event) if brace else part)
    return found


def is_empty(choice: dict[str, Any]) -> bool:
    return (choice.get("delta"), choice["finish_reason"], choice["logprobs"]) == ({}, None, None)


def request_of(shape: str, stream: bool) -> tuple[str, dict[str, Any]]:
    """Return path and body of a request whose answer is the same every time."""
    body = {"temperature": 0, "seed": 1, "stream": stream, **SHAPES[shape]}
    path = COMPLETIONS if "prompt" in body else CHAT
    if not stream:
        body.pop("stream_options", None)
    if path == CHAT:
        body["messages"] = [OWN, *body.get("messages", [user("Hi")])]
    return path, body


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_client_gets_the_bytes_that_it_would_have_got(
    shared_server: RunningServer, tmp_path: Path, shape: str, stream: bool
) -> None:
    """The gate is judged by one answer: two streams of the same tokens have different events.

    `test_engine_streams.py` checks every way to cut them.
    """
    path, body = request_of(shape, stream)
    raw = ask(shared_server, path, raw=True, **body)
    ours = ask(shared_server, path, tap=tmp_path / "answer", **body)

    expected = events(
        (tmp_path / "answer").read_text(), token_ids="return_token_ids" in body or "echo" in body
    )
    assert events(ours.body) == expected, "the gate changed the answer"
    say = joined if stream else without_identity
    assert say(ours.body) == say(raw.body), "the engine answered differently"


CHANGES: dict[str, tuple[dict[str, Any], Callable[[Answer], Any], Any, Any]] = {
    "as many tokens as the window has": (
        {"max_tokens": 131072, "stop": ["a", "e", "o"]},
        lambda answer: answer.status,
        400,
        200,
    ),
    "a developer": (
        {"messages": [{"role": "developer", "content": "X"}, user("Hi")]},
        lambda answer: answer.status,
        400,
        200,
    ),
    "a call that is cut": (
        ENDLESS_CALL,
        lambda answer: answer.finishes,
        ["tool_calls"],
        ["length"],
    ),
    "a loop that is stopped": (
        {
            "max_tokens": 1500,
            "repetition_detection": {"max_pattern_size": 2, "min_count": 8},
            **LOOP,
        },
        lambda answer: answer.finishes,
        ["repetition"],
        ["length"],
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_the_raw_engine_and_the_gate_side_by_side(shared_server: RunningServer, case: str) -> None:
    body, look, of_engine, of_gate = CHANGES[case]

    assert look(ask(shared_server, raw=True, **body)) == of_engine
    assert look(ask(shared_server, **body)) == of_gate


def test_the_truth_stands_in_a_header(shared_server: RunningServer) -> None:
    cut = ask(shared_server, **ENDLESS_CALL)
    stopped = ask(shared_server, max_tokens=1500, loops="stop", **LOOP)

    assert cut.headers["x-mistral-finish-reason"] == "length"
    assert stopped.headers["x-mistral-finish-reason"] == "repetition"
    assert stopped.json["usage"]["completion_tokens"] == 512


def test_ids_of_other_servers_are_taken(shared_server: RunningServer) -> None:
    call = {"id": "call_long-id-of-another", "type": "function"}
    call["function"] = {"name": "get_weather", "arguments": "{}"}  # type: ignore[assignment]
    messages = [
        user("Hi"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny"},
    ]

    assert ask(shared_server, messages=messages, **TOOLS).status == 200


def test_strict_tools_hold_the_model_to_the_callers_tools(shared_server: RunningServer) -> None:
    loose = {"type": "function", "function": {"name": "get_weather"}}
    body: dict[str, Any] = {
        "max_tokens": 20,
        "logit_bias": {"9": 90, "32": 90},
        "parallel_tool_calls": False,
    }
    names = []
    for tool in (loose, TOOL):
        answer = ask(shared_server, tools=[tool], **body).json
        (call,) = answer["choices"][0]["message"]["tool_calls"]
        names.append(call["function"]["name"])

    assert names[0] != "get_weather"  # random weights know no names
    assert names[1] == "get_weather"


def test_other_ways_to_generate_are_closed(shared_server: RunningServer) -> None:
    for path in ("/v1/responses", "/v1/messages", "/invocations", "/v1/chat/completions/batch"):
        assert ask(shared_server, path).status == 404


def test_a_looping_request_shows_in_the_signals(shared_server: RunningServer) -> None:
    with streaming(shared_server, n=ALL_AT_ONCE, **LOOP | {"temperature": 1}):
        shared_server.until(
            lambda: json.loads(shared_server.get("/signals")[1])["looping"] == 1, seconds=60
        )
