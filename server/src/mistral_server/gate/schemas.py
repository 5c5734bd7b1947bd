"""The callers' own JSON schemas, compiled once and judged in bounded time. Pure.

A schema comes with every request, from anybody. It may ask for another host's files, or refer to
itself until one small object takes for ever; such a schema is unusable, which is its author's
mistake and not the model's.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jsonschema_rs
import msgspec

LARGEST_BYTES = 64 * 1024
"""A schema with more than this is not read: the largest of OpenAI's own examples has 4 KB."""

_STEPS = 20_000
"""Pairs of subschema and value that are looked at; one takes well under a microsecond."""

_CACHED = 256
_BACKTRACKS = 10_000
_TOO_SLOW = (
    jsonschema_rs.ValidationErrorKind.BacktrackLimitExceeded,
    jsonschema_rs.ValidationErrorKind.RegexEngineFailure,
)
_REFERENCES = (b'"$ref"', b'"$dynamicRef"', b'"$recursiveRef"')


class UnusableSchema(ValueError):
    """A schema that cannot be judged by; the message says why."""


def schema_errors(schema: bytes, value: Any) -> list[str]:
    """Return the keywords of the schema that the value violates, in the schema's order.

    Args:
        schema: JSON of the schema; empty or `null` allows everything.
        value: the decoded arguments.

    Raises:
        UnusableSchema: it is too large, invalid, refers to another document, or would take for
            ever.
    """
    compiled = _compiled(schema)
    if compiled is None:
        return []
    if compiled.refers:
        _check_steps(compiled.document, value)
    try:
        kinds = [error.kind for error in compiled.validator.iter_errors(value)]
    except (ValueError, RecursionError) as error:
        raise UnusableSchema(str(error)) from error
    if any(isinstance(kind, _TOO_SLOW) for kind in kinds):
        raise UnusableSchema("one of its patterns takes too long")
    return [kind.name for kind in kinds]


class _Compiled(msgspec.Struct):
    validator: jsonschema_rs.Validator
    document: Any
    refers: bool


@lru_cache(maxsize=_CACHED)
def _attempt(schema: bytes) -> _Compiled | str | None:
    """Compile a schema, or return why it is unusable.

    Not the exception itself: each time it is raised it takes the frames on its way along, with the
    request that they work on, for as long as it lives.
    """
    try:
        return _compile(schema)
    except UnusableSchema as error:
        return str(error)


def _compiled(schema: bytes) -> _Compiled | None:
    if len(schema) > LARGEST_BYTES:
        raise UnusableSchema(f"it has {len(schema)} bytes; at most {LARGEST_BYTES} are read")
    attempt = _attempt(schema)
    if isinstance(attempt, str):
        raise UnusableSchema(attempt)
    return attempt


def _compile(schema: bytes) -> _Compiled | None:
    if not schema.strip():
        return None
    try:
        document = msgspec.json.decode(schema)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise UnusableSchema(f"it is not JSON: {error}") from error
    if document is None:
        return None
    refers = any(reference in schema for reference in _REFERENCES)
    # Callers write for several drafts and rarely say which; 2020-12 is what pydantic makes, and
    # draft 7 what mistral-common reads.
    makers = (jsonschema_rs.validator_for, jsonschema_rs.Draft7Validator)
    reason = ""
    for make in makers:
        try:
            validator = make(document, offline=True, pattern_options=_PATTERNS)
        except (ValueError, RecursionError, TypeError, OverflowError) as error:
            reason = reason or str(error).partition("\n")[0]
        else:
            return _Compiled(validator, document, refers)
    raise UnusableSchema(reason)


_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACKS)


def _check_steps(document: Any, value: Any) -> None:
    """Raise `UnusableSchema` if judging the value would take too many steps.

    Without references a schema has as many parts as bytes. With them it can have 2 ** 30 in a
    kilobyte, or no end.
    """
    left = _STEPS
    open_pairs = [(document, value)]
    while open_pairs:
        left -= 1
        if left < 0:
            raise UnusableSchema("its references unfold without an end in sight")
        schema, instance = open_pairs.pop()
        if isinstance(schema, dict):
            open_pairs.extend(_parts(document, schema, instance))


def _parts(document: Any, schema: dict[str, Any], instance: Any) -> Iterator[tuple[Any, Any]]:
    for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
        if isinstance(schema.get(keyword), str):
            yield _resolved(document, schema[keyword]), instance
    for keyword in ("allOf", "anyOf", "oneOf"):
        for part in _listed(schema.get(keyword)):
            yield part, instance
    for keyword in ("not", "if", "then", "else"):
        if keyword in schema:
            yield schema[keyword], instance
    if isinstance(instance, dict):
        yield from _of_object(schema, instance)
    elif isinstance(instance, list):
        for keyword in ("items", "additionalItems", "contains", "unevaluatedItems"):
            for part in _listed(schema.get(keyword)) or [schema.get(keyword)]:
                yield from ((part, item) for item in instance)
        for part in _listed(schema.get("prefixItems")):
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


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _resolved(document: Any, reference: str) -> Any:
    """Follow a JSON pointer within the document; other references lead nowhere here."""
    found = document
    for token in reference.partition("#")[2].split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(name)
        elif isinstance(found, list) and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found
