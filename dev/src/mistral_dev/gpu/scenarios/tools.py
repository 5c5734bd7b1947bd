"""Tool calls, forced on a model that was never trained: every mode, streamed and not."""

import json
from typing import Any

from mistral_dev.gpu.scenario import Room, Step
from mistral_dev.gpu.server import Reply

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
_NAMED = {"type": "function", "function": {"name": "get_weather"}}
_CHOICES: dict[str, Any] = {"auto": "auto", "named": _NAMED, "required": "required"}


def tools(room: Room) -> None:
    """Ask for a call in every way, and judge it as a caller would."""
    whole = 0
    for mode, choice in _CHOICES.items():
        for stream in (False, True):
            reply = room.chat(
                "What is the weather in Paris?",
                tools=[TOOL],
                tool_choice=choice,
                parallel_tool_calls=False,
                max_tokens=64,
                stream=stream,
                # [TOOL_CALLS], [ARGS], the end, and a brace that ends the arguments.
                logit_bias={"9": 100, "32": 100, "2": 100, room.rig.scale.closing_brace: 60},
            )
            whole += _judge(room, f"{mode}, {'streamed' if stream else 'whole'}", reply)
    room.findings.note(calls=2 * len(_CHOICES), executable=whole)


def _judge(room: Room, how: str, reply: Reply) -> bool:
    """Check a call; return whether the caller can execute it as it came."""
    found = room.findings
    name, arguments = _call(reply)
    if not found.check(f"{how}: a call", bool(name), reply.text[:300]):
        return False
    # Random weights put white space behind a name, which a stream passes on.
    found.equal(f"{how}: the tool", name.strip(), "get_weather")
    executable = name == "get_weather" and _valid(arguments)
    found.check(f"{how}: arguments", _valid(arguments) or reply.finish == "length", arguments)
    room.seen[f"calls {'ok' if executable else 'not ok'}"] += 1
    return executable


def _call(reply: Reply) -> tuple[str, str]:
    """Return name and arguments of the first call, put together as a client does."""
    said = [choice.get("delta") or choice.get("message") or {} for choice in reply.choices]
    calls = [call for part in said for call in part.get("tool_calls") or ()]
    functions = [call["function"] for call in calls if call.get("index", 0) == 0]
    name = "".join(function.get("name") or "" for function in functions)
    return name, "".join(function.get("arguments") or "" for function in functions)


def _valid(arguments: str) -> bool:
    try:
        value = json.loads(arguments)
    except ValueError:
        return False
    return isinstance(value, dict) and value.get("city") in ("Paris", "Rome") and len(value) == 1


TOOLS = Step("tools", tools, 90)
