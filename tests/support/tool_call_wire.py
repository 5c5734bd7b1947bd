"""The entries of the corpus as a server sends them: requests, answers, streams, files."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

from tool_call_corpus import TOOLS, Call, Entry


def request_of(entry: Entry) -> dict[str, Any]:
    """Return the request of an answer."""
    functions = [
        {"name": name} | ({} if schema is None else {"parameters": schema})
        for name, schema in TOOLS.items()
    ]
    return {
        "messages": [{"role": "user", "content": "Hi"}],
        "n": 1 + len(entry.further),
        "stream": bool(entry.stream),
        "tool_choice": entry.choice,
        "tools": [{"type": "function", "function": function} for function in functions],
    }


def choices_of(entry: Entry) -> list[dict[str, Any]]:
    """Return the choices of an answer that is not streamed."""
    return [
        {
            "index": index,
            "message": {"role": "assistant", "content": each.content or None}
            | {"tool_calls": [_whole(call, at) for at, call in enumerate(each.calls)]},
            "finish_reason": each.finish,
            "stop_reason": None,
            "token_ids": [5, 6, 7 if each.cut else 2],
        }
        for index, each in enumerate((entry, *entry.further))
    ]


def chunks_of(entry: Entry, size: int = 7) -> list[dict[str, Any]]:
    """Return the same response as a stream, its texts split into pieces of some characters."""
    streams = [list(_deltas(each, size)) for each in (entry, *entry.further)]
    chunks = []
    for round_ in itertools.zip_longest(*streams):
        for index, one_ in enumerate(round_):
            if one_ is not None:
                chunks.append({"choices": [{"index": index, "finish_reason": None} | one_]})
    return chunks


def _deltas(entry: Entry, size: int) -> Iterator[dict[str, Any]]:
    yield {"delta": {"role": "assistant", "content": ""}}
    for piece in _pieces(entry.content, size):
        yield {"delta": {"content": piece}, "token_ids": [5]}
    for at, call in enumerate(entry.calls):
        whole = _whole(call, at)
        head = whole | {"index": at, "function": {"name": call.name, "arguments": ""}}
        yield {"delta": {"tool_calls": [head]}, "token_ids": [6]}
        for piece in _pieces(call.arguments, size):
            rest = {"index": at, "function": {"arguments": piece}}
            yield {"delta": {"tool_calls": [rest]}, "token_ids": [7]}
    yield {"delta": {}, "finish_reason": entry.finish, "token_ids": [7 if entry.cut else 2]}


def _pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def _whole(call: Call, position: int) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id or f"abcdefgh{position}", "type": "function", "function": function}


def as_transcript(entry: Entry) -> bytes:
    """Return the answer as a file: JSON, or the events of a stream."""
    if not entry.stream:
        return json.dumps({"choices": choices_of(entry)}).encode()
    events = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks_of(entry)]
    return "".join([*events, "data: [DONE]\n\n"]).encode()
