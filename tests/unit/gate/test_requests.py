"""Policy on the way in: what reaches the engine."""

import base64
import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from gate_engine import CHAT, COMPLETIONS, Counted, FakeEngine, ask, gate
from hostile_requests import png
from mistral_server.gate.messages import normal_id
from mistral_server.gate.request import STOP_RULE

USER = {"role": "user", "content": "Hé"}
REQUESTED = {"return_token_ids": True}
"""What the gate always adds."""

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


async def reaches(body: dict[str, Any], path: str = CHAT, **how: Any) -> dict[str, Any]:
    """Return what reaches the engine of a request, without what the gate always adds."""
    engine = FakeEngine()
    await ask(gate(engine), body, path, **how)
    request: dict[str, Any] = engine.request
    length = dict(engine.scopes[-1]["headers"])[b"content-length"]
    assert int(length) == len(engine.bodies[-1])
    return {key: value for key, value in request.items() if key not in REQUESTED}


async def test_a_request_that_needs_no_change_keeps_everything(configure: Any) -> None:
    body = {"model": "tiny", "messages": [USER], "n": 1, "temperature": 1.50, "seed": None}

    assert await reaches(body) == body
    assert await reaches({"prompt": "x", "logprobs": 3}, COMPLETIONS) == {
        "prompt": "x",
        "logprobs": 3,
    }


async def test_a_chat_without_system_message_gets_the_prompt(
    configure: Any, tmp_path: Path
) -> None:
    path = tmp_path / "prompt"
    path.write_text('You are {name}, "today" is {today}.')
    configure(system_prompt={"path": str(path)})
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    prompt = {"role": "system", "content": f'You are tiny, "today" is {today}.'}
    own = {"role": "system", "content": "X"}

    with Counted() as counted:
        assert await reaches({"messages": [USER]}) == {"messages": [prompt, USER]}
        assert await reaches({"messages": [own, USER]}) == {"messages": [own, USER]}
        assert await reaches({"messages": [USER, own]}) == {"messages": [USER, own]}
    assert counted.moved()["requests_changed_total{change=system_prompt}"] == 1


async def test_a_developer_is_a_system_to_this_model(configure: Any) -> None:
    message = {"role": "developer", "content": "X", "name": "me"}

    assert await reaches({"messages": [message, USER]}) == {
        "messages": [message | {"role": "system"}, USER]
    }

    configure(gate={"accept_developer": False})
    assert await reaches({"messages": [message, USER]}) == {"messages": [message, USER]}


async def test_ids_of_tool_calls_are_converted_to_the_models_format(configure: Any) -> None:
    def history(one: str, other: str) -> dict[str, Any]:
        calls = [
            {"id": each, "type": "function", "function": {"name": "f", "arguments": "{}"}}
            for each in (one, other)
        ]
        answers = [{"role": "tool", "tool_call_id": each, "content": "1"} for each in (one, other)]
        assistant = {"role": "assistant", "content": None, "tool_calls": calls}
        return {"messages": [USER, assistant, *answers]}

    body = history("call_4f8a-long-id-of-openai", "abcDEF123")

    assert await reaches(body) == history(normal_id("call_4f8a-long-id-of-openai"), "abcDEF123")

    configure(gate={"normalize_tool_ids": False})
    assert await reaches(body) == body


def test_a_normal_id_is_nine_letters_and_digits_and_always_the_same() -> None:
    ids = [normal_id(f"call_{number}") for number in range(2000)]

    assert len(set(ids)) == len(ids)
    assert all(len(one) == 9 and one.isalnum() and one.isascii() for one in ids)
    assert ids == [normal_id(f"call_{number}") for number in range(2000)]
    assert normal_id(ids[0]) == ids[0]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("window", [1000, None])
async def test_as_many_tokens_as_the_window_has_means_as_many_as_fit(
    configure: Any, name: str, window: int | None
) -> None:
    configure(
        engine={"context_length": window}
    )  # None: queried from the engine, which reports 1000
    body: dict[str, Any] = {"messages": [USER]}

    assert await reaches(body | {name: 131072}) == body
    assert await reaches(body | {name: 1000}) == body
    assert await reaches(body | {name: 999}) == body | {name: 999}
    assert await reaches(body | {name: None}) == body | {name: None}

    configure(gate={"fit_max_tokens": False})
    assert await reaches(body | {name: 131072}) == body | {name: 131072}


async def test_the_context_length_is_queried_once(configure: Any) -> None:
    configure(engine={"context_length": None})
    engine = FakeEngine()
    app = gate(engine)
    for _ in range(3):
        await ask(app, {"messages": [USER], "max_tokens": 5})

    assert [scope["path"] for scope in engine.scopes].count("/v1/models") == 1


async def test_strict_tools_constrain_the_engine_unless_the_client_opts_out(
    configure: Any,
) -> None:
    loose = {"type": "function", "function": {"name": "g", "strict": False}}
    body = {"messages": [USER], "tools": [TOOL, loose], "tool_choice": "auto"}
    strict = {"type": "function", "function": {**TOOL["function"], "strict": True}}  # type: ignore[dict-item]

    assert await reaches(body) == body

    configure(gate={"strict_tools": True})
    assert await reaches(body) == body | {"tools": [strict, loose]}


@pytest.mark.parametrize(
    ("action", "header", "stream", "injected"),
    [
        ("Observe", None, False, False),
        ("Observe", "stop", False, True),
        ("Observe", "STOP ", False, True),
        ("Stop", None, False, True),
        ("Stop", "observe", False, False),
        ("Stop", "off", False, False),
        ("Stop", None, True, False),  # the gate itself ends a stream
    ],
)
async def test_loops_are_stopped_by_the_engine_where_the_gate_cannot(
    configure: Any, action: str, header: str | None, stream: bool, injected: bool
) -> None:
    configure(gate={"loops": {"action": action}})
    headers = [("X-Mistral-Loops", header)] if header else []
    got = await reaches({"messages": [USER], "stream": stream}, headers=headers)

    assert (got.get("repetition_detection") == STOP_RULE) is injected
    own = {"max_pattern_size": 3, "min_count": 2}
    body = {"messages": [USER], "repetition_detection": own}
    assert (await reaches(body, headers=headers))["repetition_detection"] == own


async def test_reasoning_that_is_left_out_does_not_take_the_token_ids_along(
    configure: Any,
) -> None:
    assert (await reaches({"messages": [USER], "include_reasoning": False}))["include_reasoning"]


@pytest.mark.parametrize("stream", [False, True])
async def test_token_ids_are_not_requested_for_a_completion_that_echoes_its_prompt(
    configure: Any, stream: bool
) -> None:
    """With token ids, vLLM omits the prompt's text."""
    engine = FakeEngine()
    body = {"prompt": "x", "echo": True, "stream": stream}
    await ask(gate(engine), body, COMPLETIONS)

    assert engine.request == body


async def test_a_mistake_of_the_gate_breaks_no_request(
    configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("mistral_server.gate.middleware.prepare", broken)
    engine = FakeEngine()
    with Counted() as counted:
        got = await ask(gate(engine), {"messages": [USER]})

    assert got.json()["choices"][0]["message"]["content"] == "Hi"
    assert engine.request == {"messages": [USER]}
    assert counted.moved()["gate_errors_total{where=request}"] == 1


async def test_a_mistake_of_the_gate_does_not_lead_past_the_limits(
    configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("mistral_server.gate.limits.refusal", broken)
    engine = FakeEngine()
    with Counted() as counted:
        got = await ask(gate(engine), {"messages": [USER]})

    assert got.status == 400
    assert engine.bodies == []
    assert counted.moved() == {
        "gate_errors_total{where=request}": 1,
        "requests_refused_total{reason=invalid_request}": 1,
    }


async def test_a_client_that_disconnects_early_does_not_reach_the_engine(configure: Any) -> None:
    engine = FakeEngine()
    sent: list[Any] = []
    parts = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Any:
        return parts.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": CHAT, "headers": []}
    await gate(engine)(scope, receive, send)

    assert (engine.scopes, sent) == ([], [])


async def test_lifespan_passes(configure: Any) -> None:
    seen = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    async def nothing(*_: object) -> Any:
        return {}

    await gate(application)({"type": "lifespan"}, nothing, nothing)

    assert seen == [{"type": "lifespan"}]


async def test_an_image_of_megabytes_is_copied_and_not_decoded(configure: Any) -> None:
    image = base64.b64encode(png(640, 480)) + b"A" * 5_000_000
    part = b'{"type":"image_url","image_url":{"url":"data:image/png;base64,' + image + b'"}}'
    body = b'{ "messages" : [ {"content":[' + part + b'],"role":"developer"} ] , "x" : 1.50 }'
    engine = FakeEngine()
    await ask(gate(engine), body)

    assert image in engine.bodies[-1]
    assert b"1.50" in engine.bodies[-1]
    assert json.loads(engine.bodies[-1])["messages"][0]["role"] == "system"
