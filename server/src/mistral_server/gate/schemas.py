"""Clients' JSON schemas, compiled once, with validation in bounded time. Pure.

Schemas come from untrusted requests. One may reference files of another host, require gigabytes, or
reference itself so that a small object takes endless time. Such a schema is unusable, which is the
client's error and not the model's.
"""

import re
import threading
from collections import Counter
from typing import Any

import jsonschema_rs
import msgspec

from mistral_server.gate.schema_costs import Budget, Costs, costs_of, steps_of

SCHEMA_LIMIT_BYTES = 64 * 1024
"""Maximum size of a schema; the largest of OpenAI's own examples has 4 KB."""

MEMORY_LIMIT_BYTES = 32 * 2**20
"""Maximum memory of a compiled schema and of the cache: about a hundred with 4 KB of JSON."""

_PATTERN_SIZES = tuple(4**power for power in range(6, 12))
"""Size limits to try for a compiled pattern, 4 KiB to 4 MiB; the smallest that fits counts."""

_GROUP = re.compile(r"\((?!\?[:=!])")
"""Opens a group, or is a literal: then the pattern's memory is slightly overestimated."""

_COMPLETE_WORK = 2_000_000
"""Maximum steps times bytes for which all errors are found. Each step may be an error, and each
error copies its value: 2,000 wrong names of 10 bytes took 1.3 s, the first one alone 0.6 ms."""

_CHOICE_STEPS = 10_000
"""Maximum steps for which errors are found where a schema has `anyOf` or `oneOf`. Their error holds
those of each alternative, with a copy of the value in each: 2,000 alternatives of a list of 100,000
numbers took more than 5 GiB, 16,384 of a small object 0.6 s."""

_ENTRY_BYTES = 1024
_BACKTRACK_LIMIT = 10_000
_TOO_SLOW = (
    jsonschema_rs.ValidationErrorKind.BacktrackLimitExceeded,
    jsonschema_rs.ValidationErrorKind.RegexEngineFailure,
)
_COMPILE_ERRORS = (ValueError, RecursionError, TypeError, OverflowError)


class UnusableSchema(ValueError):
    """A schema that cannot be used for validation; the message says why."""


class TooComplex(UnusableSchema):
    """Validating these arguments would take more than the budget of their response."""


def schema_errors(schema: bytes, value: Any, budget: Budget | None = None) -> list[str]:
    """Return the keywords of the schema that the value violates, in the schema's order.

    Of large arguments only the first one is found: each further one copies what it is about.

    Args:
        schema: JSON of the schema; empty or `null` allows everything.
        value: the decoded arguments.
        budget: what is left for the response; None for a response of its own.

    Raises:
        TooComplex: validating would take more than the budget.
        UnusableSchema: it is too large, invalid, refers to another document, or would take too much
            memory.
    """
    budget = budget or Budget()
    if budget.exhausted:
        raise TooComplex("earlier tool calls of the response took too long")
    if len(schema) > SCHEMA_LIMIT_BYTES:
        raise UnusableSchema(f"it has {len(schema)} bytes; at most {SCHEMA_LIMIT_BYTES} are read")
    compiled = _cache.get(schema, budget)
    if compiled.reason is not None:
        raise UnusableSchema(compiled.reason)
    if compiled.validator is None:
        return []
    steps = steps_of(compiled.document, value, compiled.patterns.sizes, budget)
    if steps is None:
        raise TooComplex("its parts or patterns take too long with these arguments")
    try:
        if compiled.chooses and (steps > _CHOICE_STEPS or _is_large(value, steps)):
            return [] if compiled.validator.is_valid(value) else ["anyOf"]
        kinds = _violations(compiled.validator, value, steps)
    except (ValueError, RecursionError) as error:
        raise UnusableSchema(str(error)) from error
    if any(isinstance(kind, _TOO_SLOW) for kind in kinds):
        raise TooComplex("one of its patterns takes too long")
    return [kind.name for kind in kinds]


def _is_large(value: Any, steps: int) -> bool:
    return steps * len(msgspec.json.encode(value)) > _COMPLETE_WORK


def _violations(
    validator: jsonschema_rs.Validator, value: Any, steps: int
) -> list[jsonschema_rs.ValidationErrorKind]:
    if not _is_large(value, steps):
        return [error.kind for error in validator.iter_errors(value)]
    try:
        validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        return [error.kind]
    return []


class _Patterns(msgspec.Struct):
    """Memory of the patterns of a schema, in bytes."""

    sizes: dict[str, int] = {}
    """Compiled size of each pattern."""
    memory: int = 0
    """Memory in use: each takes up to four times its size, plus its size for each group."""


class _CompiledSchema(msgspec.Struct):
    """A compiled schema, or the reason why it is unusable.

    Not the exception itself: each raise adds frames to it, which keep the request alive.
    """

    validator: jsonschema_rs.Validator | None = None
    """None if the schema allows everything."""
    document: Any = None
    patterns: _Patterns = msgspec.field(default_factory=_Patterns)
    chooses: bool = False
    """Whether its errors can hold one for each of many alternatives."""
    reason: str | None = None
    memory: int = 0
    """Estimated bytes."""


class _SchemaCache:
    """A least-recently-used cache of compiled schemas, limited by memory."""

    def __init__(self) -> None:
        self._entries: dict[bytes, _CompiledSchema] = {}
        self._memory = 0
        self._lock = threading.Lock()

    def get(self, schema: bytes, budget: Budget) -> _CompiledSchema:
        """Return a compiled schema, and mark it as recently used.

        Compiling takes a step for each byte. The responses are judged in several threads.
        """
        with self._lock:
            compiled = self._entries.pop(schema, None)
            if compiled is None:
                budget.steps -= len(schema)
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
    # Clients write for several drafts and rarely declare one. pydantic generates 2020-12, and
    # mistral-common reads draft 7.
    for make in (jsonschema_rs.validator_for, jsonschema_rs.Draft7Validator):
        try:
            validator = make(document, offline=True, pattern_options=options)
        except _COMPILE_ERRORS as error:
            reason = reason or str(error).partition("\n")[0]
        else:
            return _CompiledSchema(
                *(validator, document, patterns, costs.chooses),
                memory=costs.memory + patterns.memory,
            )
    raise UnusableSchema(reason)


def _patterns_of(costs: Costs) -> _Patterns:
    """Return the memory of the patterns of a schema.

    Raises:
        UnusableSchema: a pattern is invalid, or the schema takes too much memory.
    """
    patterns = _Patterns()
    for pattern, count in Counter(costs.patterns).items():
        size = next((size for size in _PATTERN_SIZES if _fits(pattern, size)), None)
        if size is None:
            raise UnusableSchema("one of its patterns is none, or takes too much memory")
        patterns.sizes[pattern] = size
        patterns.memory += count * size * (4 + len(_GROUP.findall(pattern)))
        if costs.memory + patterns.memory > MEMORY_LIMIT_BYTES:
            break  # no need to compile the others
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
