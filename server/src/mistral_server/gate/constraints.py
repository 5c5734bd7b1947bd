"""What constrains a response, and how much of it there is. Pure.

The engine compiles schemas, grammars and regular expressions in the process that serves all
clients. A schema of 200 bytes with `minItems: 1000000` kept it busy for seven seconds.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from mistral_server.gate.document import NotJson, number
from mistral_server.gate.schema_costs import patterns_of

_COUNTS = ("minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains")
_LENGTHS = ("minLength", "maxLength")
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_REPEATED = frozenset(
    {
        *("items", "prefixItems", "additionalItems", "unevaluatedItems", "contains"),
        *("additionalProperties", "patternProperties", "unevaluatedProperties"),
    }
)
"""Keywords whose schema is repeated as often as the counts beside them say."""

_DATA = frozenset({"const", "enum", "default", "examples"})
"""Keywords that hold values and no schemas."""

_AS_TEXT = ("grammar", "regex", "structural_tag")
_OLD = ("guided_json", "guided_regex", "guided_grammar", "guided_choice")
"""Fields of vLLM before `structured_outputs`."""

_TOKENS = r"\\.|\(|\)|\{\s*+(\d*+)\s*+(?:,\s*+(\d*+)\s*+)?\}"
"""An escape, a group's beginning and end, a repetition."""

_IN_GRAMMAR = re.compile(_TOKENS, re.DOTALL)
_IN_PATTERN = re.compile(_TOKENS + r"|\[(?:\\.|[^\]\\])*+\]?", re.DOTALL)
"""A pattern also has classes, where parentheses are characters."""

_MOST = 10**12
"""Beyond every limit; numbers stop growing here."""

_PAIRS = 4
"""Pairs of properties that cost as much as a repetition, where their number is limited: xgrammar
0.2 spells out every order in which some are left out. 280 such properties took it 0.1 s, 1,000 of
them 3.9 s and 0.8 GiB, even with `minProperties: 1`."""

_BOUND_DIGITS = 40
"""Of a number's bound: further ones cost xgrammar little. Each takes it 0.02 ms."""

_DIGITS = 18
"""Of a number that is read; longer ones count as this many nines."""


def constraints_of(document: dict[str, Any], *, strict_tools: bool) -> list[Any]:
    """Return schemas as objects, and grammars and regular expressions as texts.

    Raises:
        NotJson: a schema that is written as a text is not JSON.
    """
    result = [*_of_response_format(document.get("response_format"))]
    outputs = document.get("structured_outputs")
    if isinstance(outputs, dict):
        result += [_parsed(outputs.get("json")), outputs.get("choice")]
        result += [outputs.get(name) for name in _AS_TEXT[:2]]
        result.append(_parsed(outputs.get("structural_tag")))
    result += [_parsed(document.get("guided_json"))]
    result += [document.get(name) for name in _OLD[1:]]
    result += _of_tools(document, strict_tools=strict_tools)
    return [one for one in result if isinstance(one, dict | list | str)]


def size_of(constraint: Any) -> int:
    """Return the bytes of a schema, grammar or regular expression."""
    return len(constraint if isinstance(constraint, str) else msgspec.json.encode(constraint))


def repetitions_of(constraint: Any) -> int:
    """Return how many repetitions a schema, grammar or regular expression spells out."""
    if isinstance(constraint, str):
        # A grammar may have brackets in its texts, so both readings count.
        return max(_repetitions_in(constraint), _repetitions_in(constraint, _IN_GRAMMAR))
    total = 0
    left = [(constraint, 1)]
    while left:
        part, factor = left.pop()
        if isinstance(part, list):
            left += [(one, factor) for one in part]
        elif isinstance(part, dict):
            count = max((_count(part.get(name)) for name in _COUNTS), default=0)
            spelled = count + _property_pairs(part) + _bound_digits(part)
            total += factor * (spelled + sum(map(_repetitions_in, patterns_of(part))))
            for keyword, value in part.items():
                if keyword not in _DATA:
                    repeated = factor * max(1, count) if keyword in _REPEATED else factor
                    left.append((value, min(_MOST, repeated)))
    return total


def excessive_length(constraint: Any) -> int:
    """Return the largest `minLength` or `maxLength` of a schema."""
    largest = 0
    left = [constraint]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            largest = max(largest, *(_count(part.get(name)) for name in _LENGTHS))
            left += [value for keyword, value in part.items() if keyword not in _DATA]
    return largest


def _of_response_format(value: Any) -> Iterator[Any]:
    if not isinstance(value, dict):
        return
    schema = value.get("json_schema")
    if isinstance(schema, dict):
        yield _parsed(schema.get("schema", schema.get("json_schema")))
    if value.get("type") == "structural_tag":
        yield value


def _of_tools(document: dict[str, Any], *, strict_tools: bool) -> Iterator[Any]:
    """Yield the schemas of the tools that the engine compiles: others are only text."""
    tools = document.get("tools")
    choice = document.get("tool_choice")
    every = strict_tools or choice == "required" or isinstance(choice, dict)
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and (every or function.get("strict")):
            yield function.get("parameters")


def _parsed(value: Any) -> Any:
    """Return a schema that may be written as a text."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise NotJson("it is not JSON") from error


def _property_pairs(part: dict[str, Any]) -> int:
    """Return the repetitions that limiting the number of optional properties amounts to."""
    properties, required = part.get("properties"), part.get("required")
    least, most = _count(part.get("minProperties")), _count(part.get("maxProperties"))
    if not isinstance(properties, dict) or not least + most:
        return 0
    names = {one for one in required if isinstance(one, str)} if isinstance(required, list) else ()
    optional = len(properties.keys() - names)
    return len(properties) * min(optional, most or optional) // _PAIRS


def _bound_digits(part: dict[str, Any]) -> int:
    """Return the digits of the bounds of a number: each one is a part of the grammar."""
    total = 0
    for keyword in _BOUNDS:
        value = part.get(keyword)
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = f"{value:f}" if isinstance(value, float) else str(value)
            total += min(_BOUND_DIGITS, len(text))
    return total


def _count(value: Any) -> int:
    if isinstance(value, bool):
        return 0
    count = number(value)
    return 0 if count is None else int(min(_MOST, max(0, count)))


def _repetitions_in(pattern: str, tokens: re.Pattern[str] = _IN_PATTERN) -> int:
    """Return the sum of the repetitions in a regular expression or a grammar.

    A repetition of a group counts as often as what is within.
    """
    if "{" not in pattern:
        return 0
    open_groups = [0]
    group, group_ends = 0, -1
    for match in tokens.finditer(pattern):
        if match[0] == "(":
            open_groups.append(0)
        elif match[0] == ")":
            group, group_ends = open_groups[-1], match.end()
            if len(open_groups) > 1:
                open_groups.pop()
                open_groups[-1] += group
        elif match[0][0] == "{":
            count = max(_digits(match[1]), _digits(match[2]))
            within = group if match.start() == group_ends else 0
            open_groups[-1] = min(_MOST, open_groups[-1] + count * max(1, within))
    return min(_MOST, sum(open_groups))


def _digits(text: str | None) -> int:
    return int(text[:_DIGITS] if len(text) <= _DIGITS else "9" * _DIGITS) if text else 0
