"""Estimate the cost of a client's schema: memory to compile it, time to validate with it. Pure.

A few hundred bytes can require gigabytes or endless time, so both are estimated in advance.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

_STEPS = 20_000
"""Maximum number of pairs of subschema and value; one takes well under a microsecond."""

_PATTERN_WORK = 10**9
"""Maximum of characters times bytes of the compiled pattern, about 0.6 s: the worst of seven kinds
of pattern took 0.63 ns each, ordinary ones a hundredth of that."""

_OBJECT_BYTES = 704
_VALUE_BYTES = 160
"""Memory of the validator per part and level above it, because `not`, `unevaluatedItems` and others
copy their contents. More than the worst of 40 kinds of schema took."""

_UNEVALUATED = frozenset({"unevaluatedItems", "unevaluatedProperties"})
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_REVISITS = 3
"""How often the validator visits the parts of a schema with one of those keywords."""


class Costs(msgspec.Struct):
    """The costs of a schema."""

    memory: int = 0
    """Bytes of the compiled schema without its patterns."""
    patterns: list[str] = []
    unfolds: bool = False
    """Whether references can expand to more parts than it has bytes: check `takes_too_long`
    first."""
    renames: bool = False
    """Whether a part has an id, to which references are relative."""


def costs_of(document: Any) -> Costs:
    """Return the costs of a schema after reading it once."""
    costs, identity = Costs(), _identity(document)
    left = [(document, 1)]
    while left:
        part, depth = left.pop()
        if isinstance(part, dict):
            costs.memory += depth * (_OBJECT_BYTES + sum(map(len, part)))
            costs.patterns += _patterns(part)
            costs.unfolds |= not _UNFOLDING.isdisjoint(part)
            costs.renames |= depth > 1 and isinstance(part.get(identity), str)
            left += [(one, depth + 1) for one in part.values()]
        else:
            costs.memory += depth * (_VALUE_BYTES + (len(part) if isinstance(part, str) else 0))
            left += [(one, depth + 1) for one in _as_list(part)]
    return costs


_UNFOLDING = _UNEVALUATED.union(_REFERENCES)


def takes_too_long(
    document: Any, value: Any, *, unfolds: bool, patterns: Mapping[str, int], pattern_bytes: int
) -> bool:
    """Return whether validating the value would take too many steps.

    Without references a schema has at most as many parts as bytes. With them a kilobyte can have
    2 ** 30 parts, or infinitely many. A part with unevaluated properties is visited repeatedly, at
    each level.

    Args:
        document: the schema.
        value: the value to validate.
        unfolds: whether the schema has such parts.
        patterns: the compiled size of each pattern, in bytes.
        pattern_bytes: the size of all patterns, each as often as it occurs in the schema.
    """
    if not unfolds and (
        # Each occurrence is matched with each character at most once.
        not patterns or pattern_bytes * len(msgspec.json.encode(value)) < _PATTERN_WORK
    ):
        return False
    left, work = _STEPS, _PATTERN_WORK
    open_pairs = [(document, value)]
    try:
        while open_pairs and left and work >= 0:
            left -= unfolds
            schema, instance = open_pairs.pop()
            if isinstance(schema, dict):
                open_pairs.extend(_parts(document, schema, instance))
                work -= _matching(schema, instance, patterns)
    except (LookupError, TypeError, ValueError):
        return True  # a reference is not a path in this document
    return not left or work < 0


def _matching(schema: dict[str, Any], instance: Any, patterns: Mapping[str, int]) -> int:
    """Return the work of the patterns of this part alone."""
    if isinstance(instance, str):
        return patterns.get(schema.get("pattern", ""), 0) * len(instance)
    if isinstance(instance, dict) and isinstance(schema.get("patternProperties"), dict):
        size = sum(patterns.get(pattern, 0) for pattern in schema["patternProperties"])
        return size * sum(map(len, instance))
    return 0


def _patterns(schema: dict[str, Any]) -> Iterator[str]:
    if isinstance(schema.get("pattern"), str):
        yield schema["pattern"]
    properties = schema.get("patternProperties")
    if isinstance(properties, dict):
        yield from properties


def _parts(document: Any, schema: dict[str, Any], instance: Any) -> Iterator[tuple[Any, Any]]:
    for _ in range(1 if _UNEVALUATED.isdisjoint(schema) else _REVISITS):
        for part in _in_place(document, schema):
            yield part, instance
        if isinstance(instance, list):
            yield from _of_list(schema, instance)
    if isinstance(instance, dict):
        yield from _of_object(schema, instance)


def _in_place(document: Any, schema: dict[str, Any]) -> Iterator[Any]:
    for keyword in _REFERENCES:
        if isinstance(schema.get(keyword), str):
            yield _resolve(document, schema[keyword])
    for keyword in ("allOf", "anyOf", "oneOf"):
        if keyword in schema:
            yield from _as_list(schema[keyword])
    for keyword in ("not", "if", "then", "else"):
        if keyword in schema:
            yield schema[keyword]


def _of_list(schema: dict[str, Any], instance: list[Any]) -> Iterator[tuple[Any, Any]]:
    for keyword in ("items", "additionalItems", "contains", "unevaluatedItems"):
        for part in _as_list(schema.get(keyword)) or [schema.get(keyword)]:
            yield from ((part, item) for item in instance)
    for part in _as_list(schema.get("prefixItems")):
        yield from ((part, item) for item in instance)


def _of_object(schema: dict[str, Any], instance: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    properties = schema.get("properties")
    if isinstance(properties, dict):
        yield from ((properties[name], instance[name]) for name in properties.keys() & instance)
    for keyword in ("additionalProperties", "unevaluatedProperties"):
        if keyword in schema:
            yield from ((schema[keyword], item) for item in instance.values())
    for keyword in ("patternProperties", "dependentSchemas", "dependencies"):
        parts = schema.get(keyword)
        for part in parts.values() if isinstance(parts, dict) else ():
            yield part, instance
            yield from ((part, item) for item in instance.values())
    if "propertyNames" in schema:
        yield from ((schema["propertyNames"], name) for name in instance)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _resolve(document: Any, reference: str) -> Any:
    """Resolve a JSON pointer within the document."""
    root, *path = (unquote(reference) if "%" in reference else reference).split("/")
    if root != "#":
        raise LookupError(reference)
    target = document
    for token in path:
        name = token.replace("~1", "/").replace("~0", "~")
        target = target[int(name)] if isinstance(target, list) else target[name]
    return target


def _identity(document: Any) -> str:
    """Return the keyword of ids in this schema's draft."""
    draft = document.get("$schema") if isinstance(document, dict) else None
    return "id" if "draft-04" in str(draft) else "$id"
