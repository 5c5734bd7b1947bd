"""Messages for invalid values: what pydantic reports, in the terms of a manifest's author."""

import math
import re
from collections.abc import Iterable
from typing import Any

from pydantic_core import ErrorDetails

from mistral_operator.api.absent_fields import remedy
from mistral_operator.api.base import QUANTITY_ERROR
from mistral_operator.api.patterns import EXAMPLES, QUANTITY_MESSAGE, message

_CHOICE = re.compile(r"int|str|literal\[.*\]|constrained-.*|function-.*")
"""Pydantic's names for the alternatives of a field with several types."""

_MAX_KEY = 100
"""Characters that are quoted of a key, which its author chose."""

_QUOTED = re.compile(r"'([^']*)'")
_ITEMS = re.compile(r" after validation, not \d+$")
_SUBJECT = re.compile(r"^(Input|String|List|Dictionary) should")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")

_TYPES = {
    "model_type": "an object",
    "model_attributes_type": "an object",
    "dict_type": "an object",
    "list_type": "a list",
    "tuple_type": "a list",
    "string_type": "a string",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
"""What a value must be, by pydantic's name of the error."""


def field_path(location: Iterable[int | str]) -> str:
    """Return the path of a field, such as `spec.pod.tolerations[0]`.

    Pydantic adds parts to a location that are not in the manifest: types of a union, and `[key]`.
    """
    path = "spec"
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]" and not _CHOICE.fullmatch(part):
            path += f".{part[:_MAX_KEY]}"
    return path


def sentence(error: ErrorDetails) -> str:
    """Return the message of an error, with what to write instead."""
    value, kind = error["input"], error["type"]
    if isinstance(value, float) and math.isnan(value):
        return "not a number (NaN): write a number"
    if instead := remedy(kind, error["loc"]):
        return instead
    if kind == "extra_forbidden":
        return "unknown field"
    if kind == "missing":
        return "required, but not set"
    if kind == QUANTITY_ERROR:
        return _quantity(error["loc"], value)
    if kind == "string_too_long" and error["loc"][-1] == "[key]":
        return short_keys_message(error["ctx"]["max_length"])
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}{_quotes(kind, value)}"
    if kind == "literal_error":
        return _literal(error)
    if kind == "string_pattern_mismatch" and error["ctx"]["pattern"] in EXAMPLES:
        return message(error["ctx"]["pattern"])
    text = _SUBJECT.sub("must", error["msg"].removeprefix("Value error, "))
    return _ITEMS.sub("", text)


def allowed_keys_message(keys: Iterable[str]) -> str:
    """Return the message for a map with a fixed set of keys."""
    return f"allowed keys are {', '.join(keys)}"


def short_keys_message(longest: int) -> str:
    """Return the message for a map whose keys have a maximum length."""
    return f"keys must have at most {longest} characters"


def _quotes(kind: str, value: Any) -> str:
    if kind == "string_type" and isinstance(value, bool | int | float):
        return ": put the value in quotes"
    if kind != "string_type" and isinstance(value, str):
        text = value.lower()
        if _NUMBER.fullmatch(text) if kind.startswith(("int", "float")) else text in _TRUTH:
            return ", without quotes"
    return ""


_TRUTH = {"true", "false"}

_MAX_FRACTION = 1e6
"""A larger number is not meant in GiB or CPUs, and `:g` shows it with an exponent."""


def _literal(error: ErrorDetails) -> str:
    expected = error.get("ctx", {})["expected"]
    if error["loc"][-1] == "[key]":
        return allowed_keys_message(_QUOTED.findall(expected))
    if not isinstance(error["input"], bool):
        return f"must be {expected}"
    quoted = any(one.lower() in _WORDS for one in _QUOTED.findall(expected))
    return (
        f"must be {expected}; YAML reads Off, On, No and Yes as true or false"
        f"{', so put the value in quotes' if quoted else ''}"
    )


_WORDS = {"off", "on", "no", "yes"}
"""Words that YAML 1.1 reads as truth values."""


def _quantity(location: tuple[int | str, ...], value: Any) -> str:
    fraction = isinstance(value, float) and 0 < value < _MAX_FRACTION
    if location[-1] != "cpu":
        return f"{QUANTITY_MESSAGE}; {value:g} GiB is {value:g}Gi" if fraction else QUANTITY_MESSAGE
    if fraction:
        return f'write "{value:g}" or {value * 1000:g}m'
    return 'write it as a quoted quantity, such as "2" or 500m'
