"""Estimate the cost of a client's schema: memory to compile it, time to validate with it. Pure.

A few hundred bytes can require gigabytes or endless time, so both are estimated in advance.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec

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
    """Whether references can expand to more parts than it has bytes."""
    renames: bool = False
    """Whether a part has an id, to which references are relative."""
    chooses: bool = False
    """Whether a part has alternatives, and an error that holds those of each of them."""


def costs_of(document: Any) -> Costs:
    """Return the costs of a schema after reading it once."""
    costs, identity = Costs(), _identity(document)
    left = [(document, 1)]
    while left:
        part, depth = left.pop()
        if isinstance(part, dict):
            costs.memory += depth * (_OBJECT_BYTES + sum(map(len, part)))
            costs.patterns += patterns_of(part)
            costs.unfolds |= not _UNFOLDING.isdisjoint(part)
            costs.chooses |= not _CHOICES.isdisjoint(part)
            costs.renames |= depth > 1 and isinstance(part.get(identity), str)
            left += [(one, depth + 1) for one in part.values()]
        else:
            costs.memory += depth * (_VALUE_BYTES + (len(part) if isinstance(part, str) else 0))
            left += [(one, depth + 1) for one in _as_list(part)]
    return costs


_UNFOLDING = _UNEVALUATED.union(_REFERENCES)
_CHOICES = frozenset({"anyOf", "oneOf"})


@dataclass(slots=True)
class Budget:
    """What judging one response may still cost."""

    steps: int = 100_000
    """Pairs of subschema and value, values that are compared with, and parts of 64 bytes of what is
    read as a whole. The gate counts one in about a microsecond, in a thread, and the validator
    takes a fifth of that."""
    pattern_work: int = 8 * 10**8
    """Characters times bytes of the compiled pattern, about 0.5 s: the worst of seven kinds of
    pattern took 0.63 ns each, ordinary ones a hundredth of that."""

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left."""
        return self.steps < 0 or self.pattern_work < 0


def steps_of(document: Any, value: Any, patterns: Mapping[str, int], budget: Budget) -> int | None:
    """Return how many steps validating the value takes, or None for more than the budget.

    Without references a schema has at most as many parts as bytes. With them a kilobyte can have
    2 ** 30 parts, or infinitely many. A part with unevaluated properties is visited repeatedly, at
    each level.

    Args:
        document: the schema.
        value: the value to validate.
        patterns: the compiled size of each pattern, in bytes.
        budget: what the steps are taken from, also if they are too many.
    """
    before = budget.steps
    open_pairs = [(document, value)]
    sizes, references = _Sizes(), _References(document)
    try:
        while open_pairs:
            schema, instance = open_pairs.pop()
            budget.steps -= 1
            if isinstance(schema, dict):
                budget.steps -= _comparisons(schema, instance) + sizes.read(schema, instance)
                budget.pattern_work -= _matching(schema, instance, patterns) if patterns else 0
                for pair in _parts(references, schema, instance):
                    open_pairs.append(pair)
                    if len(open_pairs) > budget.steps:
                        budget.steps = min(budget.steps, 0)
                        return None
            if budget.exhausted:
                return None
    except (LookupError, TypeError, ValueError):
        return None  # a reference is not a path in this document
    return before - budget.steps


def _comparisons(schema: dict[str, Any], instance: Any) -> int:
    """Return how many values the keywords of this part alone are compared with."""
    count = len(_as_list(schema.get("enum"))) + len(_as_list(schema.get("required")))
    if isinstance(instance, dict):
        properties = schema.get("properties")
        count += len(properties) if isinstance(properties, dict) else 0
        count += len(instance) if "patternProperties" in schema else 0
    return count


_BYTES_PER_STEP = 64
_READ_SCHEMA = ("const", "enum", "dependentRequired", "dependencies")
"""Keywords whose own value may be read as a whole."""
_READ_INSTANCE = ("const", "enum", "uniqueItems", "minLength", "maxLength")
"""Keywords that may read the whole instance: to compare it, hash it or count its characters."""


class _Sizes:
    """Steps for reading whole values, whose sizes are computed once."""

    def __init__(self) -> None:
        self._recorded: dict[int, int] = {}

    def read(self, schema: dict[str, Any], instance: Any) -> int:
        """Return the steps for what the keywords of this part alone read as a whole."""
        size = sum(self._of(schema[keyword]) for keyword in _READ_SCHEMA if keyword in schema)
        if any(keyword in schema for keyword in _READ_INSTANCE):
            size += self._of(instance)
        return size // _BYTES_PER_STEP

    def _of(self, value: Any) -> int:
        if not isinstance(value, str | list | dict):
            return 0
        if id(value) not in self._recorded:
            self._recorded[id(value)] = len(msgspec.json.encode(value))
        return self._recorded[id(value)]


def _matching(schema: dict[str, Any], instance: Any, patterns: Mapping[str, int]) -> int:
    """Return the work of the patterns of this part alone."""
    if isinstance(instance, str):
        return patterns.get(schema.get("pattern", ""), 0) * len(instance)
    if isinstance(instance, dict) and isinstance(schema.get("patternProperties"), dict):
        size = sum(patterns.get(pattern, 0) for pattern in schema["patternProperties"])
        return size * sum(map(len, instance)) if size else 0
    return 0


def patterns_of(schema: dict[str, Any]) -> Iterator[str]:
    """Yield the patterns of a schema, without those of its parts."""
    if isinstance(schema.get("pattern"), str):
        yield schema["pattern"]
    properties = schema.get("patternProperties")
    if isinstance(properties, dict):
        yield from properties


def _parts(
    references: "_References", schema: dict[str, Any], instance: Any
) -> Iterator[tuple[Any, Any]]:
    for _ in range(1 if _UNEVALUATED.isdisjoint(schema) else _REVISITS):
        for part in _in_place(references, schema):
            yield part, instance
        if isinstance(instance, list):
            yield from _of_list(schema, instance)
    if isinstance(instance, dict):
        yield from _of_object(schema, instance)


def _in_place(references: "_References", schema: dict[str, Any]) -> Iterator[Any]:
    for keyword in _REFERENCES:
        if isinstance(schema.get(keyword), str):
            yield references.target(schema[keyword])
    for keyword in ("allOf", "anyOf", "oneOf"):
        if keyword in schema:
            yield from _as_list(schema[keyword])
    for keyword in ("not", "if", "then", "else"):
        if keyword in schema:
            yield schema[keyword]


def _of_list(schema: dict[str, Any], instance: list[Any]) -> Iterator[tuple[Any, Any]]:
    for keyword in ("items", "additionalItems", "contains", "unevaluatedItems"):
        for part in _as_list(schema.get(keyword)) or [schema.get(keyword)]:
            if isinstance(part, dict):
                yield from ((part, item) for item in instance)
    yield from zip(_as_list(schema.get("prefixItems")), instance, strict=False)


def _of_object(schema: dict[str, Any], instance: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    properties = schema.get("properties")
    if isinstance(properties, dict):
        # Of two views the smaller one is iterated.
        names = properties.keys() & instance.keys()
        yield from ((properties[name], instance[name]) for name in names)
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


class _References:
    """The targets of references, each resolved once: a pointer can be as long as the schema."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._recorded: dict[str, Any] = {}

    def target(self, reference: str) -> Any:
        """Return the target of a reference."""
        if reference not in self._recorded:
            self._recorded[reference] = _resolve(self._document, reference)
        return self._recorded[reference]


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
