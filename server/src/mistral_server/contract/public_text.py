"""Makes a text of another process fit for the public: a status, an Event, a report or a log.

Those who may read a status or a log need not be those who may read a Secret.
"""

import re
from collections.abc import Iterable

from mistral_server.contract.lenient import printable

HIDDEN = "[hidden]"

_MAX_READ = 100_000
"""Characters that are looked at; the rest is dropped. Messages have a few thousand."""

_SHORTEST_SECRET = 4
"""Shorter values are words of every text."""

# Each begins with a fixed text and has a bound, so that the time is linear.
_SECRETS = (
    (re.compile(r"://[^/@\s]{1,500}@"), f"://{HIDDEN}@"),
    (re.compile(r"\b(bearer)[ +:=]{1,3}[^\s\"',;]{4,5000}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (
        re.compile(
            r"(password|passwd|secret|token|api[-_]?key|authorization|credential)"
            r"([\"']?\s{0,3}[:=]\s{0,3}[\"']?)((?:basic|digest|bearer)\s{1,3})?"
            r"[^\s\"',;&)\]}]{1,5000}",
            re.IGNORECASE,
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"\b(hf|sk|ghp|glpat|xox[bp])[-_][A-Za-z0-9_-]{8,5000}"), HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,5000}\.[A-Za-z0-9_.-]{8,5000}"), HIDDEN),
)
"""What is a secret by its form: credentials in URLs, headers, assignments, known prefixes, JWTs."""


def public_text(text: str, longest: int, secrets: Iterable[str] = ()) -> str:
    """Return a text as one line without secrets and of bounded length.

    Args:
        text: a text that another process or a user may have chosen.
        longest: maximum number of characters; more are cut, with `...` at the end.
        secrets: values that are known to be secret.
    """
    line = _redacted(printable(text[:_MAX_READ]), secrets)
    return line if len(line) <= longest else line[: max(longest - 3, 0)] + "..."


def _redacted(text: str, secrets: Iterable[str] = ()) -> str:
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text
