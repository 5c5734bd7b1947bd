"""Responses with tool calls, each with the outcome that a person assigned.

Every entry is a response that is not streamed and the stream of the same response, split into
pieces. Where they differ in vLLM, an entry is for one of them.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

Schema = dict[str, Any]

WEATHER: Schema = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 2},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "where": {
            "type": "object",
            "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}},
            "required": ["lat", "lon"],
            "additionalProperties": False,
        },
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
    },
    "required": ["city"],
    "additionalProperties": False,
}
EXPRESSION: Schema = {
    "$defs": {
        "node": {
            "anyOf": [
                {"type": "number"},
                {
                    "type": "object",
                    "properties": {
                        "op": {"enum": ["+", "-", "*", "/"]},
                        "left": {"$ref": "#/$defs/node"},
                        "right": {"$ref": "#/$defs/node"},
                    },
                    "required": ["op", "left", "right"],
                },
            ]
        }
    },
    "type": "object",
    "properties": {"tree": {"$ref": "#/$defs/node"}},
    "required": ["tree"],
}
NOTHING: Schema = {"type": "object", "properties": {}, "additionalProperties": False}


def doubling(depth: int) -> Schema:
    """Return a schema that unfolds into 2 ** depth parts."""
    parts = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(depth)}
    return {"$defs": {**parts, f"d{depth}": {"type": "object"}}, "$ref": "#/$defs/d0"}


UNUSABLE: dict[str, Any] = {
    "remote": {"$ref": "https://example.com/schema.json"},
    "remote_inside": {"type": "object", "properties": {"x": {"$ref": "file:///etc/passwd"}}},
    "missing_part": {"$ref": "#/$defs/nowhere"},
    "doubling": doubling(40),
    "endless": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
    "unknown_type": {"type": "text"},
    "not_a_schema": 7,
    "bad_pattern": {"type": "object", "properties": {"x": {"pattern": "("}}},
    "huge_repetition": {"properties": {"x": {"pattern": r"((\p{L}{1,20}){1,30}){1,30}"}}},
    "exponential": {"properties": {"x": {"pattern": r"^(?=(a+))(?:(a|aa)+)+\2b$"}}},
    "too_long": {"type": "object", "description": "x" * 70_000},
}
"""Schemas of clients that are unusable, and why."""

TOO_COMPLEX = frozenset({"doubling", "endless", "exponential"})
"""Those that are usable, but not with these arguments in bounded time."""

TOOLS: dict[str, Any] = {
    "get_weather": WEATHER,
    "calculate": EXPRESSION,
    "now": NOTHING,
    "free": None,
    "anything": {},
    "never": False,
    "draft7": {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {
            "pair": {"type": "array", "items": [{"type": "string"}, {"type": "number"}]}
        },
    },
    "old_tuple": {"properties": {"pair": {"items": [{"type": "string"}, {"type": "number"}]}}},
    **UNUSABLE,
}


@dataclass(frozen=True)
class Call:
    """A call in an answer."""

    name: str
    arguments: str
    id: str = ""
    """Empty: one that the model's format takes."""


@dataclass(frozen=True)
class Entry:
    """An answer and what its calls are."""

    title: str
    calls: tuple[Call, ...]
    outcomes: tuple[tuple[str | None, str], ...]
    """Name and outcome of each call, None for one that should have been."""
    request_outcome: str
    content: str = ""
    finish: str = "tool_calls"
    cut: bool = False
    """The last token is not the end of the sequence."""
    choice: Any = "auto"
    stream: bool | None = None
    """None: both ways."""
    further: tuple["Entry", ...] = field(default=(), repr=False)
    """Further choices of the same answer."""


def corpus() -> list[Entry]:
    """Return all entries, each for one of the two ways."""
    entries = itertools.chain(
        _single(), _unusable(), _identities(), _leaks(), _missing(), _cuts(), _several()
    )
    return [
        replace(entry, stream=way)
        for entry in entries
        for way in ((False, True) if entry.stream is None else (entry.stream,))
    ]


def one(name: str, arguments: str, outcome: str, roll_up: str, **more: Any) -> Entry:
    """Return an answer with one call."""
    call = Call(name, arguments, more.pop("id", ""))
    title = more.pop("title", f"{outcome}: {name.strip()[:20]} {arguments[:40]}")
    return Entry(title, (call,), ((name, outcome),), roll_up, **more)


_VALID = {
    "get_weather": (
        '{"city": "Oslo"}',
        '{"city": "Oslo", "days": 14, "unit": "celsius"}',
        '{ "city"\n:\t"São Paulo" }',
        '{"city": "\\u6771\\u4eac", "tags": []}',
        '{"city": "Rome", "where": {"lat": 41.9, "lon": 12}}',
        '{"city": "Rome", "city": "Milan"}',
        '{"city": "Bern", "tags": ["a", "b", "c"]}',
        '{"city": "{}[](),:\\"\\\\"}',
    ),
    "calculate": (
        '{"tree": 5}',
        '{"tree": {"op": "+", "left": 1, "right": {"op": "*", "left": 2, "right": 3}}}',
        '{"tree": 1, "more": true}',
    ),
    "now": ("{}", " {\n\n} "),
    "free": ("{}", '{"x": [1, {"y": null}]}'),
    "anything": ("{}", '{"x": 1}'),
    "draft7": ('{"pair": ["a", 1]}',),
    "old_tuple": ('{"pair": ["a", 1]}',),
}
_WRONG = (
    ("get_weather", "{}", "missing_required"),
    ("get_weather", '{"days": 1}', "missing_required"),
    ("get_weather", '{"City": "Oslo"}', "missing_required"),
    ("get_weather", '{"city": "Rome", "where": {"lat": 1}}', "missing_required"),
    ("get_weather", '{"city": 5}', "wrong_type"),
    ("get_weather", '{"city": null}', "wrong_type"),
    ("get_weather", '{"city": "Oslo", "days": "3"}', "wrong_type"),
    ("get_weather", '{"city": "Oslo", "days": 1.5}', "wrong_type"),
    ("get_weather", '{"city": "Oslo", "tags": "a"}', "wrong_type"),
    ("get_weather", '{"city": "Oslo", "tags": [1]}', "wrong_type"),
    ("get_weather", '{"city": "Oslo", "where": []}', "wrong_type"),
    ("get_weather", '{"city": "Oslo", "country": "NO"}', "extra_property"),
    ("get_weather", '{"city": "Oslo", "where": {"lat": 1, "lon": 1, "alt": 2}}', "extra_property"),
    ("get_weather", '{"city": "O"}', "schema_violation"),
    ("get_weather", '{"city": "Oslo", "days": 0}', "schema_violation"),
    ("get_weather", '{"city": "Oslo", "unit": "kelvin"}', "schema_violation"),
    ("get_weather", '{"city": "Oslo", "tags": ["a", "b", "c", "d"]}', "schema_violation"),
    ("get_weather", '{"days": "3", "x": 1}', "missing_required"),
    ("get_weather", '{"city": 1, "x": 1}', "wrong_type"),
    ("get_weather", '{"city": "O", "x": 1}', "extra_property"),
    ("calculate", '{"tree": "1 + 2"}', "schema_violation"),
    ("calculate", '{"tree": {"op": "^", "left": 1, "right": 2}}', "schema_violation"),
    ("calculate", "{}", "missing_required"),
    ("now", '{"zone": "UTC"}', "extra_property"),
    ("never", "{}", "schema_violation"),
    ("draft7", '{"pair": [1, 1]}', "wrong_type"),
    ("old_tuple", '{"pair": [1, 1]}', "wrong_type"),
)
_NOT_JSON = (
    '{"city": "Oslo"',
    '{"city": "Oslo"}}',
    '{"city": "Oslo",}',
    "{'city': 'Oslo'}",
    '{city: "Oslo"}',
    '{"city": "Oslo"} {"city": "Rome"}',
    '```json\n{"city": "Oslo"}\n```',
    '{"city": NaN}',
    '{"city": "a\nb"}',
    "city=Oslo",
    "{",
    '{"x":' * 5000 + "1" + "}" * 5000,
)
_NO_OBJECT = (
    "[]",
    '"Oslo"',
    "5",
    "null",
    "true",
    '[{"city": "Oslo"}]',
    '"{\\"city\\": \\"Oslo\\"}"',
)
_NO_NAME = ("", " ", "\n")
_STRANGERS = (
    "getWeather",
    "get_weather ",
    " get_weather",
    "get_weatherabc123456",
    "python",
    "f" * 3000,
)


def _single() -> Iterator[Entry]:
    for name, several in _VALID.items():
        yield from (one(name, arguments, "ok", "valid") for arguments in several)
    for name, arguments, outcome in _WRONG:
        yield one(name, arguments, outcome, "invalid_args")
    for arguments in _NOT_JSON:
        yield one("get_weather", arguments, "malformed_json", "invalid_args")
    for arguments in _NO_OBJECT:
        yield one("get_weather", arguments, "not_an_object", "invalid_args")
    for arguments in ("", "  \n"):
        yield one("now", arguments, "empty", "invalid_args")
    for name in _NO_NAME:
        yield one(name, "{}", "empty", "invalid_args")
    for name in _STRANGERS:
        yield one(name, '{"city": "Oslo"}', "unknown_tool", "unknown_tool")
    yield one("nowhere", "{", "unknown_tool", "unknown_tool")


def _unusable() -> Iterator[Entry]:
    for name in UNUSABLE:
        arguments = '{"x": "' + "a" * 60 + '"}'
        outcome = "too_complex" if name in TOO_COMPLEX else "schema_unusable"
        yield one(name, arguments, outcome, "valid")
        yield one(name, '{"x"', "malformed_json", "invalid_args")


def _identities() -> Iterator[Entry]:
    for wrong in ("call_abc", "abc", "abcdefghij", "abcdefgh-", "äbcdefghi", " abcdefgh"):
        yield one("now", "{}", "invalid_id", "valid", id=wrong, title=f"id {wrong!r}")
    twice = (Call("now", "{}", "abcdefghi"), Call("now", "{}", "abcdefghi"))
    yield Entry("an id twice", twice, (("now", "ok"), ("now", "invalid_id")), "valid")
    yield one("now", '{"x": 1}', "extra_property", "invalid_args", id="?", title="args before id")


def _leaks() -> Iterator[Entry]:
    for content in (
        '[TOOL_CALLS]now[ARGS]{"zone": "UTC"}',
        "I call [TOOL_CALLS] now",
        "now[ARGS]{}",
        "x" * 5000 + "[CALL_ID]",
    ):
        yield Entry(
            f"leak: {content[:20]}", (), ((None, "marker_leak"),), "invalid_args", content, "stop"
        )
    yield one("free", '{"x": "[TOOL_CALLS]"}', "marker_leak", "invalid_args")
    yield one("now[CALL_ID]abcdefghi", "{}", "unknown_tool", "unknown_tool")
    yield Entry(
        "a leak beside a call",
        (Call("now", "{}"),),
        (("now", "ok"), (None, "marker_leak")),
        "invalid_args",
        content="[ARGS]",
    )
    yield Entry("brackets are no leak", (), (), "no_call", "[TOOL] and [ARG]", "stop")


def _missing() -> Iterator[Entry]:
    named = {"type": "function", "function": {"name": "now"}}
    missing = ((None, "missing_call"),)
    text = "It is noon."
    yield Entry("none requested, none came", (), (), "no_call", text, "stop")
    yield Entry("none wanted", (), (), "no_call", text, "stop", choice="none")
    yield Entry("required", (), missing, "no_call", text, "stop", choice="required")
    yield Entry("named", (), missing, "no_call", text, "stop", choice=named)
    yield Entry(
        "another than the named",
        (Call("free", "{}"),),
        (("free", "ok"), *missing),
        "valid",
        choice=named,
    )
    yield Entry(
        "required, cut before the call",
        (),
        ((None, "truncated"),),
        "invalid_args",
        "First I",
        "length",
        cut=True,
        choice="required",
    )
    yield one("now", "{}", "ok", "valid", choice="required", title="required and there")
    yield one("now", "{}", "ok", "valid", choice=named, finish="stop", title="named and there")
    yield Entry("cut text is no call", (), (), "no_call", "Once upon", "length", cut=True)


def _cuts() -> Iterator[Entry]:
    # vLLM invents the rest of a call that is not streamed, and reports `tool_calls`.
    for name, arguments in (
        ("get_w", "{}"),
        ("get_weather", "{}"),
        ("get_weather", "{"),
        ("get_weather", '{"city": "Os"}'),
        ("now", "{}"),
    ):
        yield one(name, arguments, "truncated", "invalid_args", cut=True, stream=False)
    for arguments in ("", "{", '{"city": "Os', '{"city": "Oslo"}'):
        yield one("get_weather", arguments, "truncated", "invalid_args", finish="length", cut=True)
    for finish in ("length", "repetition"):
        yield Entry(
            f"the second of two, {finish}",
            (Call("now", "{}"), Call("get_weather", '{"ci')),
            (("now", "ok"), ("get_weather", "truncated")),
            "invalid_args",
            finish=finish,
            cut=True,
        )
    yield one("n", "", "truncated", "invalid_args", finish="repetition", cut=True)


def _several() -> Iterator[Entry]:
    good, bad, alien = Call("now", "{}"), Call("now", "[]"), Call("alien", "{}")
    named = {good: ("now", "ok"), bad: ("now", "not_an_object"), alien: ("alien", "unknown_tool")}
    for calls in itertools.product((good, bad, alien), repeat=2):
        yield Entry(
            f"two calls: {', '.join(named[call][1] for call in calls)}",
            calls,
            tuple(named[call] for call in calls),
            _worst(named[call][1] for call in calls),
        )
    yield Entry("five calls", (good,) * 5, (("now", "ok"),) * 5, "valid")
    text = Entry("text", (), (), "no_call", "Hello", "stop")
    for other in (
        one("now", "{}", "ok", "valid"),
        one("alien", "{}", "unknown_tool", "unknown_tool"),
    ):
        yield Entry(
            f"two choices: a call and {other.request_outcome}",
            (good,),
            (("now", "ok"), *other.outcomes),
            other.request_outcome,
            further=(other,),
        )
    yield Entry(
        "two choices: text and a call",
        (),
        (("now", "ok"),),
        "valid",
        "Hello",
        "stop",
        further=(one("now", "{}", "ok", "valid"),),
    )
    yield Entry("two choices of text", (), (), "no_call", "Hi", "stop", further=(text,))
    yield Entry(
        "two choices, both cut",
        (Call("now", "{"),),
        (("now", "truncated"), ("free", "truncated")),
        "invalid_args",
        finish="length",
        cut=True,
        further=(one("free", "{", "truncated", "invalid_args", finish="length", cut=True),),
    )


def _worst(outcomes: Iterable[str]) -> str:
    distinct = set(outcomes)
    if "unknown_tool" in distinct:
        return "unknown_tool"
    return "valid" if distinct == {"ok"} else "invalid_args"
