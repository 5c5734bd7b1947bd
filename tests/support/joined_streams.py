"""The joined content of a stream, however it is split into events.

A busy engine puts several tokens into one event, up to a whole call with its end. So two streams of
the same tokens are compared by what a client has after reading them.
"""

import json
import re
from typing import Any


def joined(body: str) -> dict[str, Any]:
    """Return the content of a stream, without fields that differ between equal streams.

    In a choice everything grows: what comes twice shows. Around the choices the last value counts.
    """
    around: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    others = []
    for line in without_identity(body).splitlines():
        if line.startswith("data: {"):
            event = json.loads(line.removeprefix("data: "))
            for choice in event.pop("choices"):
                _grow(choices.setdefault(choice.pop("index"), {}), choice)
            around |= event
        elif line:
            others.append(line)
    return {"around": around, "choices": choices, "others": others}


def without_identity(body: str) -> str:
    """Return an answer without ids and the time at which it was made."""
    text = re.sub(r'"(id|request_id)":\s*"[^"]*"', r'"\1":""', body)
    return re.sub(r'"created":\s*\d+', '"created":0', text)


def _grow(document: dict[str, Any], more: dict[str, Any]) -> None:
    """Add what an event brings to what came before."""
    for key, value in more.items():
        if key == "tool_calls":
            calls = document.setdefault(key, {})
            for call in value:
                _grow(calls.setdefault(call.pop("index"), {}), call)
        elif isinstance(value, dict):
            document[key] = document.get(key) or {}
            _grow(document[key], value)
        elif document.get(key) is None:
            document[key] = value
        elif value is not None:
            document[key] += value
