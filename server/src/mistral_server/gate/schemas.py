"""The callers' own JSON schemas, compiled once and judged in bounded time. Pure.

A schema comes with every request, from anybody. It may ask for another host's files, for gigabytes,
or refer to itself until one small object takes for ever; such a schema is unusable, which is its
author's mistake and not the model's.
"""

import re
from collections import Counter
from typing import Any

import jsonschema_rs
import msgspec

from mistral_server.gate.schema_costs import Costs, costs_of, takes_too_long

SCHEMA_LIMIT_BYTES = 64 * 1024
"""A schema with more than this is not read: the largest of OpenAI's own examples has 4 KB."""

MEMORY_LIMIT_BYTES = 32 * 2**20
"""Bytes that a compiled schema may take, and all that are kept: some hundred with 4 KB of JSON."""

_PATTERN_SIZES = tuple(4**power for power in range(6, 12))
"""Bytes of a compiled pattern, 4 KiB to 4 MiB; the least that it fits in counts."""

_GROUP = re.compile(r"\((?!\?[:=!])")
"""Opens a group, or stands for itself: then the pattern is taken for a little more than it is."""

_ENTRY_BYTES = 1024
_BACKTRACK_LIMIT = 10_000
_TOO_SLOW = (
    jsonschema_rs.ValidationErrorKind.BacktrackLimitExceeded,
    jsonschema_rs.ValidationErrorKind.RegexEngineFailure,
)
_COMPILE_ERRORS = (ValueError, RecursionError, TypeError, OverflowError)


class UnusableSchema(ValueError):
    """A schema that cannot be judged by; the message says why."""


def schema_errors(schema: bytes, value: Any) -> list[str]:
    """Return the keywords of the schema that the value violates, in the schema's order.

    Args:
        schema: JSON of the schema; empty or `null` allows everything.
        value: the decoded arguments.

    Raises:
        UnusableSchema: it is too large, invalid, refers to another document, or would take too much
            memory or time.
    """
    if len(schema) > SCHEMA_LIMIT_BYTES:
        raise UnusableSchema(f"it has {len(schema)} bytes; at most {SCHEMA_LIMIT_BYTES} are read")
    compiled = _cache.get(schema)
    if compiled.reason is not None:
        raise UnusableSchema(compiled.reason)
    if compiled.validator is None:
        return []
    if takes_too_long(
        *(compiled.document, value),
        unfolds=compiled.unfolds,
        patterns=compiled.patterns.sizes,
        pattern_bytes=compiled.patterns.total,
    ):
        raise UnusableSchema("its references or patterns take too long with these arguments")
    try:
        kinds = [error.kind for error in compiled.validator.iter_errors(value)]
    except (ValueError, RecursionError) as error:
        raise UnusableSchema(str(error)) from error
    if any(isinstance(kind, _TOO_SLOW) for kind in kinds):
        raise UnusableSchema("one of its patterns takes too long")
    return [kind.name for kind in kinds]


class _Patterns(msgspec.Struct):
    """What the patterns of a schema take, in bytes."""

    sizes: dict[str, int] = {}
    """Of each, compiled."""
    total: int = 0
    """Of all, each as often as it stands in the schema."""
    memory: int = 0
    """Of all, in use: each takes up to four times its size, and its size for each of its groups."""


class _CompiledSchema(msgspec.Struct):
    """A compiled schema, or why it is unusable.

    Not the exception itself: each time it is raised it takes the frames on its way along, with the
    request that they work on, for as long as it lives.
    """

    validator: jsonschema_rs.Validator | None = None
    """None: it allows everything."""
    document: Any = None
    unfolds: bool = False
    patterns: _Patterns = msgspec.field(default_factory=_Patterns)
    reason: str | None = None
    memory: int = 0
    """Bytes, as they are estimated."""


class _SchemaCache:
    """What was known last, as far as it has room."""

    def __init__(self) -> None:
        self._entries: dict[bytes, _CompiledSchema] = {}
        self._memory = 0

    def get(self, schema: bytes) -> _CompiledSchema:
        """Return what is known of a schema, now the last that was asked for."""
        compiled = self._entries.pop(schema, None)
        if compiled is None:
            compiled = _compile_or_explain(schema)
            self._memory += compiled.memory
        self._entries[schema] = compiled
        while self._memory > MEMORY_LIMIT_BYTES:
            oldest = next(iter(self._entries))
            self._memory -= self._entries.pop(oldest).memory
        return compiled


_cache = _SchemaCache()


def _compile_or_explain(schema: bytes) -> _CompiledSchema:
    try:
        compiled = _compile(schema)
    except UnusableSchema as error:
        compiled = _CompiledSchema(reason=str(error))
    compiled.memory += _ENTRY_BYTES + len(schema) + len(compiled.reason or "")
    return compiled


def _compile(schema: bytes) -> _CompiledSchema:
    if not schema.strip():
        return _CompiledSchema()
    try:
        document = msgspec.json.decode(schema)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise UnusableSchema(f"it is not JSON: {error}") from error
    if document is None:
        return _CompiledSchema()
    costs = costs_of(document)
    if costs.unfolds and costs.renames:
        raise UnusableSchema("its references cannot be followed: parts of it have ids")
    patterns = _patterns_of(costs)
    options = _patterns_up_to(max(patterns.sizes.values(), default=0))
    reason = ""
    # Callers write for several drafts and rarely say which; 2020-12 is what pydantic makes, and
    # draft 7 what mistral-common reads.
    for make in (jsonschema_rs.validator_for, jsonschema_rs.Draft7Validator):
        try:
            validator = make(document, offline=True, pattern_options=options)
        except _COMPILE_ERRORS as error:
            reason = reason or str(error).partition("\n")[0]
        else:
            return _CompiledSchema(
                *(validator, document, costs.unfolds, patterns),
                memory=costs.memory + patterns.memory,
            )
    raise UnusableSchema(reason)


def _patterns_of(costs: Costs) -> _Patterns:
    """Return what the patterns of a schema take.

    Raises:
        UnusableSchema: one of them is none, or the schema takes too much with them.
    """
    patterns = _Patterns()
    for pattern, count in Counter(costs.patterns).items():
        size = next((size for size in _PATTERN_SIZES if _fits(pattern, size)), None)
        if size is None:
            raise UnusableSchema("one of its patterns is none, or takes too much memory")
        patterns.sizes[pattern] = size
        patterns.total += count * size
        patterns.memory += count * size * (4 + len(_GROUP.findall(pattern)))
        if costs.memory + patterns.memory > MEMORY_LIMIT_BYTES:
            break  # the others need not be tried
    if costs.memory + patterns.memory > MEMORY_LIMIT_BYTES:
        raise UnusableSchema("compiled, it would take too much memory")
    return patterns


def _fits(pattern: str, size: int) -> bool:
    try:
        jsonschema_rs.Draft202012Validator(
            {"pattern": pattern}, pattern_options=_patterns_up_to(size)
        )
    except _COMPILE_ERRORS:
        return False
    return True


def _patterns_up_to(size: int) -> jsonschema_rs.FancyRegexOptions:
    return jsonschema_rs.FancyRegexOptions(_BACKTRACK_LIMIT, size_limit=size, dfa_size_limit=size)
