"""The forms in which a log may repeat a secret value. Pure."""

import base64
import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from mistral_server.contract.lenient import printable

SHORTEST = 6
"""Characters of the shortest value that is hidden in logs too: others are words."""


def forms_of(values: Iterable[str]) -> tuple[str, ...]:
    """Return values with their lines, escaped, URL-encoded and in base64, each once."""
    return tuple({form for value in values for form in _forms(value) if len(form) >= SHORTEST})


def _forms(value: str) -> Iterator[str]:
    for text in {value, value.strip(), *(line.strip() for line in value.splitlines())}:
        if len(text) < SHORTEST:
            continue
        encoded = text.encode(errors="replace")
        yield from (text, printable(text))  # a log is read without control characters
        yield from (_unquoted(json.dumps(text)), _unquoted(json.dumps(text, ensure_ascii=False)))
        yield _unquoted(json.dumps(_unquoted(json.dumps(text))))  # JSON within JSON
        yield _unquoted(repr(text))
        yield from (quote(encoded, safe=""), quote(encoded), quote_plus(encoded))
        for one in (base64.b64encode(encoded), base64.urlsafe_b64encode(encoded)):
            yield one.decode().rstrip("=")


def _unquoted(text: str) -> str:
    return text[1:-1]
