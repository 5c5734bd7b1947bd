"""Tool calls, forced on a model that was never trained: every mode, streamed and not."""

import json
from typing import Any

from mistral_dev.gpu.scenario import ScenarioContext, Step
from mistral_dev.gpu.server import ApiResponse

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
_NAME = "get_weather"
_NAMED = {"type": "function", "function": {"name": _NAME}}
_CHOICES: dict[str, Any] = {"auto": "auto", "named": _NAMED, "required": "required"}


def tools(context: ScenarioContext) -> None:
    """Request a call in every mode, and evaluate every call as a client would."""
    executable: list[bool] = []
    for mode, choice in _CHOICES.items():
        for stream in (False, True):
            response = context.chat(
                "What is the weather in Paris?",
                tools=[TOOL],
                tool_choice=choice,
                parallel_tool_calls=False,
                max_tokens=64,
                stream=stream,
                # [TOOL_CALLS], [ARGS], the end, and a brace that ends the arguments.
                logit_bias={"9": 100, "32": 100, "2": 100, context.rig.scale.closing_brace: 60},
            )
            executable += _evaluate(
                context, f"{mode}, {'streamed' if stream else 'whole'}", response
            )
            if choice == _NAMED and not called(response, _NAME):
                context.client_counts["calls not ok"] += 1  # the gate counts missing calls
    context.findings.note(calls=len(executable), executable=sum(executable))


def _evaluate(context: ScenarioContext, how: str, response: ApiResponse) -> list[bool]:
    """Check the calls of an answer; return of each whether it can be executed as it came."""
    findings, calls = context.findings, calls_of(response)
    findings.check(f"{how}: a call", bool(calls), response.text[:300])
    executable = []
    for name, arguments in calls:
        # The grammar allows white space before a name, and vLLM takes it for a part of it.
        findings.equal(f"{how}: the tool", name.strip(), _NAME)
        cut = response.finish == "length" or len(calls) > 1  # random weights begin another call
        findings.check(f"{how}: arguments", cut or _valid(arguments), arguments)
        executable.append(name == _NAME and _valid(arguments))
        context.client_counts[f"calls {'ok' if executable[-1] else 'not ok'}"] += 1
    return executable


def calls_of(response: ApiResponse) -> list[tuple[str, str]]:
    """Return name and arguments of every call, put together by index as a client does."""
    calls: dict[int, tuple[str, str]] = {}
    for choice in response.choices:
        message = choice.get("delta") or choice.get("message") or {}
        for position, call in enumerate(message.get("tool_calls") or ()):
            index, function = call.get("index", position), call["function"]
            name, arguments = calls.get(index, ("", ""))
            more = function.get("arguments") or ""
            calls[index] = (name + (function.get("name") or ""), arguments + more)
    return [calls[index] for index in sorted(calls)]


def called(response: ApiResponse, tool: str) -> bool:
    """Return whether a tool was called by its exact name."""
    return any(name == tool for name, _ in calls_of(response))


def _valid(arguments: str) -> bool:
    try:
        value = json.loads(arguments)
    except ValueError:
        return False
    return isinstance(value, dict) and value.get("city") in ("Paris", "Rome") and len(value) == 1


TOOLS = Step("tools", tools, 90)
