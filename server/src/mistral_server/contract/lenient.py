"""Reads JSON of an untrusted or newer process, without letting one odd value spoil the rest."""

import json
import re
from typing import Any

from pydantic import BeforeValidator

_ANSI_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_LONGEST_INTEGER = 19
"""Digits of the largest 64-bit integer. Python refuses a document with one of more than 4300."""


def printable(text: str) -> str:
    """Return a text as one line, without characters that change how the text around it is shown.

    Newlines become spaces. Control characters, colors of a terminal, marks of text direction and
    surrogates are removed.
    """
    if text.isprintable():
        return text
    return "".join(_printable(one) for one in _ANSI_SEQUENCE.sub("", text))


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else ""


def cut_to(longest: int) -> BeforeValidator:
    """Return the validator of a text that is cut to a length, rather than rejected."""

    def cut(text: Any) -> Any:
        return text[:longest] if isinstance(text, str) else text

    return BeforeValidator(cut)


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Return a JSON object whose texts are printable.

    Raises:
        ValueError: the text is not a JSON object.
    """
    decoded = text if isinstance(text, str) else text.decode(errors="replace")
    try:
        value = json.loads(
            decoded.removeprefix("\ufeff"), parse_int=_integer, object_pairs_hook=_object
        )
    except RecursionError:
        raise ValueError("the document is nested too deeply") from None
    if isinstance(value, dict):
        return value
    raise ValueError("the document is not a JSON object")


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits.lstrip("-")) <= _LONGEST_INTEGER else None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {printable(key): printable(one) if isinstance(one, str) else one for key, one in pairs}
