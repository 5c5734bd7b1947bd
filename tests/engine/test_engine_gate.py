"""The gate inside the real vLLM: what it counts is what the client saw, and what it changes.

The model's weights are random. It loops by itself at temperature 0; `allowed_token_ids` forces a
loop, and `logit_bias` on the format's control tokens forces tool calls.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine_counts import the_counts_are_the_clients
from engine_requests import (
    ALL_AT_ONCE,
    ENDLESS_CALL,
    LOOP,
    SHAPES,
    TOOL,
    TOOLS,
    Answer,
    ask,
    request_of,
    user,
)
from joined_streams import joined, without_identity
from server_runner import RunningServer, streaming


def test_what_is_counted_is_what_the_client_saw(
    shared_server: RunningServer, tmp_path: Path
) -> None:
    the_counts_are_the_clients(shared_server, tmp_path)


TOKEN_IDS = ("prompt_token_ids", "token_ids")


def events(body: str, *, token_ids: bool = True) -> list[str]:
    """Return the events of a stream, or the one part of a response that is not streamed.

    Without `token_ids` they are as if the request had not requested those: vLLM then sends nothing
    for tokens whose text the tool call parser holds back.
    """
    parts = []
    for part in body.strip().split("\n\n"):
        prefix, brace, rest = part.partition("{")
        event = json.loads(brace + rest) if brace else {"choices": []}
        if not token_ids:
            if event["choices"] and all(is_empty(choice) for choice in event["choices"]):
                continue
            for holder in (event, *event["choices"]):
                holder.update({key: None for key in TOKEN_IDS if key in holder})
        parts.append(prefix + json.dumps(event) if brace else part)
    return parts


def is_empty(choice: dict[str, Any]) -> bool:
    return (choice.get("delta"), choice["finish_reason"], choice["logprobs"]) == ({}, None, None)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_client_gets_the_bytes_that_it_would_have_got(
    shared_server: RunningServer, tmp_path: Path, shape: str, stream: bool
) -> None:
    """The comparison is within one response: two streams of the same tokens have different events.

    `test_engine_streams.py` checks every way to split them.
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
