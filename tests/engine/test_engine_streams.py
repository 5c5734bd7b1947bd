"""Streams of vLLM's own making, cut into events in every possible way, pass the gate unchanged.

When the API process is busy it finds several tokens at once, and vLLM puts them into one event: up
to a whole call with its end. Which way a server cuts cannot be chosen, so no server runs here.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from engine_streams import Cut, Generation, streams
from gate_engine import COMPLETIONS, FakeEngine, ask, gate, settings
from joined_streams import joined
from mistral_server.gate.asgi import Receive, Scope, Send

Streams = dict[str, list[tuple[Cut, Cut]]]

TOOL_CALLS, ARGS, EOS = 9, 32, 2
CALL = (TOOL_CALLS, "now", ARGS, " {}")
TOOL = {"name": "now", "parameters": {"type": "object"}, "strict": True}
TOOLS: dict[str, Any] = {"tools": [{"type": "function", "function": TOOL}]}
NAMED = {"type": "function", "function": {"name": "now"}}
USAGE = {"include_usage": True, "continuous_usage_stats": True}


def chat(*tokens: int | str, finish: str = "STOP", **body: Any) -> Generation:
    request = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 60, **body}
    return Generation(
        {"model": "tiny", "stream": True, **request}, [tokens] * body.get("n", 1), finish
    )


def completion(*tokens: int | str, **body: Any) -> Generation:
    request = {"prompt": "Hi", "max_tokens": 60, **body}
    return Generation(
        {"model": "tiny", "stream": True, **request},
        [tokens] * body.get("n", 1),
        path=COMPLETIONS,
    )


GENERATIONS: dict[str, Generation] = {
    "words": chat("Hi you there", EOS),
    "no words": chat(EOS),
    "characters of several tokens": chat("é😀", EOS),
    "words beside tools": chat("Hi {you}", EOS, **TOOLS),
    "words with logprobs": chat("Hi", EOS, logprobs=True, top_logprobs=2),
    "words that are stopped": chat("Hi you there", stop=["the"]),
    "a call": chat(*CALL, EOS, **TOOLS),
    "one call at most": chat(*CALL, *CALL[:3], EOS, parallel_tool_calls=False, **TOOLS),
    "a call that is cut": chat(*CALL, finish="LENGTH", **TOOLS),
    "a call without arguments": chat(*CALL[:2], EOS, **TOOLS),
    "a call after words": chat("Hi ", *CALL, EOS, **TOOLS),
    "a call after a blank line": chat("\n\n", *CALL, EOS, **TOOLS),
    "two calls": chat(TOOL_CALLS, "f", ARGS, "{}", TOOL_CALLS, "f", ARGS, "{}", EOS, **TOOLS),
    "a required call": chat(*CALL, EOS, tool_choice="required", **TOOLS),
    "a named call": chat(*CALL, EOS, tool_choice=NAMED, **TOOLS),
    "no call allowed": chat(*CALL, EOS, tool_choice="none", **TOOLS),
    "a call with logprobs": chat(*CALL, EOS, logprobs=True, top_logprobs=2, **TOOLS),
    "a call with usage": chat(*CALL, EOS, stream_options=USAGE, **TOOLS),
    "a call with its token ids": chat(*CALL, EOS, return_token_ids=True, **TOOLS),
    "two choices": chat(*CALL, EOS, n=2, **TOOLS),
    "a completion": completion("Hi you there", EOS),
    "two completions with logprobs": completion("é", EOS, n=2, logprobs=2),
    "a completion with its prompt": completion("Hi", EOS, echo=True),
}


@pytest.fixture(scope="module")
def both() -> Iterator[Streams]:
    """Yield all streams of each generation, as requested by the client and by the gate."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in settings().items():
            environment.setenv(name, value)
        requests = list(GENERATIONS.values())
        ours = [asyncio.run(requested_by_the_gate(one)) for one in requests]
        cuts = streams([*requests, *ours])
        pairs = zip(cuts[: len(requests)], cuts[len(requests) :], strict=True)
        yield {
            name: list(zip(*pair, strict=True))
            for name, pair in zip(GENERATIONS, pairs, strict=True)
        }


@pytest.mark.parametrize("name", GENERATIONS)
async def test_however_the_engine_cuts_a_stream_the_client_gets_the_bytes_it_would_have_got(
    both: Streams, name: str
) -> None:
    generation = GENERATIONS[name]
    for plain, ours in both[name]:
        got = await ask(gate(replaying(ours.events)), generation.body, generation.path)

        assert got.body.decode() == "".join(plain.events), plain.sizes


@pytest.mark.parametrize("name", GENERATIONS)
def test_the_content_of_a_stream_does_not_depend_on_its_chunks(both: Streams, name: str) -> None:
    """Tests on a running server compare two streams by it."""
    whole, *others = [joined("".join(plain.events)) for plain, _ in both[name]]

    assert whole["others"] == ["data: [DONE]"]
    assert all(one == whole for one in others)


async def requested_by_the_gate(generation: Generation) -> Generation:
    """Return a generation whose request went through the gate."""
    engine = FakeEngine()
    await ask(gate(engine), generation.body, generation.path)
    return Generation(engine.request, generation.choices, generation.finish, generation.path)


def replaying(events: list[str]) -> Any:
    """Return an application that streams prepared events."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for event in events:
            body = event.encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return application
