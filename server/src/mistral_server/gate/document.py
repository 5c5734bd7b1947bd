"""Read a body the way the engine does, or not at all. Pure.

vLLM reads with Python's `json`, which takes more than JSON: NaN, a byte order mark, UTF-16, lone
surrogates. What only one of two readers understands would pass the other's policy, so the gate
rejects all of it. Of repeated keys both take the last one.
"""

import re
from typing import Any

import msgspec

_ENCODINGS = (
    (b"\xef\xbb\xbf", "it begins with a byte order mark"),
    (b"\xff\xfe", "it is UTF-16 or UTF-32"),
    (b"\xfe\xff", "it is UTF-16"),
    (b"\x1f\x8b", "it is compressed"),
)
_NUMBER = re.compile(r"[+-]?\d{1,19}(\.\d{1,19})?", re.ASCII)
_TRUE = frozenset({"1", "on", "t", "true", "y", "yes"})
_FALSE = frozenset({"0", "off", "f", "false", "n", "no"})


class NotJson(ValueError):
    """A body that is not one JSON object; the message says why, and quotes nothing of it."""


def read_object(body: bytes) -> dict[str, Any]:
    """Return the object that a body consists of.

    Raises:
        NotJson: it is something else, or is not JSON by RFC 8259.
    """
    try:
        value = msgspec.json.decode(body)
    except UnicodeDecodeError as error:
        raise NotJson("it has bytes that are not UTF-8") from error
    except RecursionError as error:
        raise NotJson("it is nested too deeply") from error
    except msgspec.MsgspecError as error:
        raise NotJson(_explain(body, error)) from error
    if not isinstance(value, dict):
        raise NotJson("it is not an object")
    return value


def _explain(body: bytes, error: msgspec.MsgspecError) -> str:
    if not body.strip():
        return "it is empty"
    if b"\0" in body[:4]:
        return "it is UTF-16 or UTF-32"
    reason = next((words for start, words in _ENCODINGS if body.startswith(start)), None)
    return reason or str(error).lower().replace("json is malformed: ", "")


def is_true(value: object) -> bool:
    """Return whether the engine reads a value as true; pydantic takes some texts and 1 as well."""
    if isinstance(value, str):
        return value.lower() in _TRUE
    return value is True or (isinstance(value, int | float) and value == 1)


def is_false(value: object) -> bool:
    """Return whether the engine reads a value as false."""
    if isinstance(value, str):
        return value.lower() in _FALSE
    return value is False or (isinstance(value, int | float) and value == 0)


def number(value: object) -> float | None:
    """Return a number as the engine reads it, or None for what is not surely one.

    pydantic takes a number in a text too.
    """
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return None
