"""Evaluate the tool calls of one response against the client's tools. Pure.

Every call gets one outcome, the first that applies. vLLM repairs names and completes arguments only
in responses that are not streamed, so a call is evaluated as the client receives it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from mistral_server.gate.schema_costs import Budget
from mistral_server.gate.schemas import TooComplex, UnusableSchema, schema_errors


class ToolCallOutcome(StrEnum):
    """The outcome of one tool call. The names are API: they are label values of a metric."""

    TRUNCATED = "truncated"
    """The response ended within the call: by its token limit, or because of a loop."""
    EMPTY = "empty"
    """No name, or no arguments."""
    UNKNOWN_TOOL = "unknown_tool"
    """The request has no tool of this name."""
    MALFORMED_JSON = "malformed_json"
    """The arguments are not JSON."""
    NOT_AN_OBJECT = "not_an_object"
    """The arguments are JSON but not an object."""
    MISSING_REQUIRED = "missing_required"
    """A required property is missing."""
    WRONG_TYPE = "wrong_type"
    """A value has a different type than in the schema."""
    EXTRA_PROPERTY = "extra_property"
    """A property that the schema does not allow."""
    SCHEMA_VIOLATION = "schema_violation"
    """The schema is violated in another way."""
    INVALID_ID = "invalid_id"
    """The id is not nine letters and digits, or is used twice: the model's format rejects it when
    the conversation continues."""
    MARKER_LEAK = "marker_leak"
    """The text or the call contains a control token of the format as text."""
    MISSING_CALL = "missing_call"
    """The request requires a call, and the response has none."""
    SCHEMA_UNUSABLE = "schema_unusable"
    """The client's schema cannot be used for validation; not the model's error."""
    TOO_COMPLEX = "too_complex"
    """Validating the arguments would take too long; not the model's error."""
    OK = "ok"
    """A call that the client can execute."""


class RequestOutcome(StrEnum):
    """The outcome of a request with tools."""

    VALID = "valid"
    """Every call can be executed."""
    UNKNOWN_TOOL = "unknown_tool"
    """At least one call names an unknown tool."""
    INVALID_ARGS = "invalid_args"
    """At least one call cannot be executed for another reason."""
    NO_CALL = "no_call"
    """The response has no call."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of a request."""

    schemas: Mapping[str, bytes] = field(default_factory=dict)
    """JSON schema of the arguments by the tool's name; empty allows everything."""
    required: bool = False
    """Whether tool_choice requires a call."""
    named: str | None = None
    """The one tool that tool_choice requires."""


@dataclass(slots=True)
class Call:
    """A call as the client received it."""

    name: str = ""
    arguments: str = ""
    id: str = ""


@dataclass(slots=True)
class Choice:
    """One choice of a response as the client received it."""

    content: str = ""
    calls: list[Call] = field(default_factory=list)
    truncated: bool = False
    """Whether the choice ended by a limit and not by itself."""


@dataclass(frozen=True, slots=True)
class ToolCallResult:
    """The outcome of a call or of a missing call."""

    name: str | None
    outcome: ToolCallOutcome


CALL_ID = re.compile("[a-zA-Z0-9]{9}")
"""The ids that the model's format accepts."""

_MARKERS = ("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]")
_OUTCOME_OF_KEYWORD = {
    "required": ToolCallOutcome.MISSING_REQUIRED,
    "type": ToolCallOutcome.WRONG_TYPE,
    "additionalProperties": ToolCallOutcome.EXTRA_PROPERTY,
    "unevaluatedProperties": ToolCallOutcome.EXTRA_PROPERTY,
}
_ORDER = list(ToolCallOutcome)


def evaluate_tool_calls(tools: Tools, choices: Iterable[Choice]) -> list[ToolCallResult]:
    """Return the outcome of every call of a response, including missing calls."""
    budget = Budget()
    return [one for choice in choices for one in _evaluate_choice(tools, choice, budget)]


def worst_outcome(results: Iterable[ToolCallResult]) -> RequestOutcome:
    """Return the outcome of a request, the worst one of its calls."""
    outcomes = {one.outcome for one in results}
    if ToolCallOutcome.UNKNOWN_TOOL in outcomes:
        return RequestOutcome.UNKNOWN_TOOL
    if outcomes - _EXECUTABLE - {ToolCallOutcome.MISSING_CALL}:
        return RequestOutcome.INVALID_ARGS
    return RequestOutcome.VALID if outcomes & _EXECUTABLE else RequestOutcome.NO_CALL


_EXECUTABLE = {
    ToolCallOutcome.OK,
    ToolCallOutcome.SCHEMA_UNUSABLE,
    ToolCallOutcome.TOO_COMPLEX,
    ToolCallOutcome.INVALID_ID,
}


def _evaluate_choice(tools: Tools, choice: Choice, budget: Budget) -> Iterator[ToolCallResult]:
    last = len(choice.calls) - 1
    ids: set[str] = set()
    for index, call in enumerate(choice.calls):
        repeated = call.id in ids
        ids.add(call.id)
        truncated = choice.truncated and index == last
        yield ToolCallResult(
            call.name,
            _outcome(tools, call, budget, truncated=truncated, repeated_id=repeated),
        )
    if any(marker in choice.content for marker in _MARKERS):
        yield ToolCallResult(None, ToolCallOutcome.MARKER_LEAK)
    elif tools.required and not _called(tools, choice):
        yield ToolCallResult(
            None, ToolCallOutcome.TRUNCATED if choice.truncated else ToolCallOutcome.MISSING_CALL
        )


def _called(tools: Tools, choice: Choice) -> bool:
    if tools.named is None:
        return bool(choice.calls)
    return any(call.name == tools.named for call in choice.calls)


def _outcome(
    tools: Tools, call: Call, budget: Budget, *, truncated: bool, repeated_id: bool
) -> ToolCallOutcome:
    if truncated:
        return ToolCallOutcome.TRUNCATED
    if not call.name.strip() or not call.arguments.strip():
        return ToolCallOutcome.EMPTY
    if call.name not in tools.schemas:
        return ToolCallOutcome.UNKNOWN_TOOL
    try:
        value = msgspec.json.decode(call.arguments)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ToolCallOutcome.MALFORMED_JSON
    if not isinstance(value, dict):
        return ToolCallOutcome.NOT_AN_OBJECT
    unchecked = None
    violation = None
    try:
        violation = _schema_outcome(tools.schemas[call.name], value, budget)
    except TooComplex:
        unchecked = ToolCallOutcome.TOO_COMPLEX
    except UnusableSchema:
        unchecked = ToolCallOutcome.SCHEMA_UNUSABLE
    if violation is not None:
        return violation
    if repeated_id or not CALL_ID.fullmatch(call.id):
        return ToolCallOutcome.INVALID_ID
    if any(marker in call.arguments for marker in _MARKERS):
        return ToolCallOutcome.MARKER_LEAK
    return unchecked or ToolCallOutcome.OK


def _schema_outcome(schema: bytes, value: Any, budget: Budget) -> ToolCallOutcome | None:
    keywords = schema_errors(schema, value, budget)
    outcomes = [
        _OUTCOME_OF_KEYWORD.get(keyword, ToolCallOutcome.SCHEMA_VIOLATION) for keyword in keywords
    ]
    return min(outcomes, key=_ORDER.index, default=None)
