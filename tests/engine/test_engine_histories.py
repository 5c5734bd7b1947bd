"""Histories as agents and other servers write them: the real vLLM answers them behind the gate."""

from typing import Any

import pytest

from engine_requests import TOOLS, ask, user
from server_runner import RunningServer


def called(*calls: tuple[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a message of the assistant that calls a tool, by id and arguments."""
    function = {"name": "get_weather"}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": key, "type": "function", "function": {**function, "arguments": arguments}}
            for key, arguments in calls
        ],
        **fields,
    }


def result(key: str, content: Any = "sunny") -> dict[str, Any]:
    """Return the result of a call."""
    return {"role": "tool", "tool_call_id": key, "content": content}


A, B = "abcdefgh1", "abcdefgh2"
LONG = "call_0123456789"

ANSWERED: dict[str, list[dict[str, Any]]] = {
    "a user after a result": [called((A, "{}")), result(A), user("And tomorrow?")],
    "a result in parts": [called((A, "{}")), result(A, [{"type": "text", "text": "sunny"}])],
    "two results in another order": [called((A, "{}"), (B, "{}")), result(B), result(A)],
    "two calls and one result": [called((A, "{}"), (B, "{}")), result(B)],
    "long ids that begin alike": [
        called((f"{LONG}a", "{}"), (f"{LONG}b", "{}")),
        result(f"{LONG}a"),
        result(f"{LONG}b"),
    ],
    "an id that is used twice": [
        *(called((A, "{}")), result(A), user("Again")),
        *(called((A, "{}")), result(A)),
    ],
    "content beside calls": [called((A, "{}"), content="I look"), result(A)],
    "empty arguments": [called((A, "")), result(A)],
    "arguments that were cut": [called((A, '{"city": "Par')), result(A)],
    "arguments that are a list": [called((A, "[1]")), result(A)],
    "a list of calls that is empty": [
        {"role": "assistant", "content": "Hello", "tool_calls": []},
        user("Bye"),
    ],
}

REFUSED: dict[str, list[dict[str, Any]]] = {
    "arguments that are no text": [called((A, {})), result(A)],
    "an answer is last": [{"role": "assistant", "content": "Hello"}],
    "a system message in the middle": [
        *({"role": "assistant", "content": "Hello"}, {"role": "system", "content": "Be brief"}),
        user("Bye"),
    ],
}


@pytest.mark.parametrize("case", ANSWERED)
def test_a_history_is_answered(shared_server: RunningServer, case: str) -> None:
    messages = [user("Hi"), *ANSWERED[case]]

    assert ask(shared_server, messages=messages, max_tokens=2, **TOOLS).status == 200


@pytest.mark.parametrize("case", REFUSED)
def test_a_history_that_the_format_does_not_have_is_refused(
    shared_server: RunningServer, case: str
) -> None:
    answer = ask(shared_server, messages=[user("Hi"), *REFUSED[case]], max_tokens=2, **TOOLS)

    assert answer.status == 400
    assert answer.json["error"]["message"]
