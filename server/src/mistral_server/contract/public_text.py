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

_QUOTE = r"(?P<quote>\\{0,3}[\"'])"
"""A quote, also of JSON within JSON."""
_QUOTED = rf"[bru]{{0,2}}{_QUOTE}(?:(?!(?P=quote)).){{1,5000}}"
_ASSIGNED = r"\\{0,3}[\"']?\s{0,3}[:=]\s{0,3}"

# Each begins with a fixed text and has a bound, so that the time is linear.
_HEADER = re.compile(
    rf"(?P<name>authorization|cookie)(?P<is>{_ASSIGNED})(?:{_QUOTED}|.{{1,5000}})", re.IGNORECASE
)
"""Headers whose value ends with its quote or its line."""

_SECRETS = (
    # A password may have an @ and a slash itself.
    (re.compile(r"://[^/\s]{1,500}@"), f"://{HIDDEN}@"),
    (
        re.compile(r"://[^\s/@:\[]{1,200}:(?!\d{1,5}(?:[/?#\s]|$))[^\s\"'<>]{1,500}@"),
        f"://{HIDDEN}@",
    ),
    (re.compile(r"\b(bearer)[ +:=]{1,20}[^\s\"',;]{4,5000}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (
        re.compile(
            r"(?P<name>(?:password|passwd|passphrase|\bpwd|secret|token|credential"
            r"|(?:api|private|access|account|shared[-_]?access|client)[-_]?key"
            r"|(?<=[\"'])auth(?=\\{0,3}[\"']))"
            r"(?:[-_](?:access[-_])?(?:key|value|data|id|v?\d{1,3}))?)"
            rf"(?P<is>{_ASSIGNED})"
            rf"(?:{_QUOTED}|(?:(?:basic|digest|bearer)\s{{1,3}})?(?:[^\s\"',;&)\]}}]|,(?=\S)){{1,5000}})",
            re.IGNORECASE,
        ),
        None,
    ),
    (
        re.compile(
            r"(--[\w-]{0,40}(?:password|passphrase|secret|token|api[-_]?key) {1,3})"
            r"[^\s\"',;]{6,5000}",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b((?:signature|sig)=)[^\s\"'&]{1,5000}", re.IGNORECASE), rf"\1{HIDDEN}"),
    (
        re.compile(
            r"\b(hf|sk|gh[opsur]|github_pat|glpat|xox[a-z])[-_][A-Za-z0-9_-]{8,5000}",
        ),
        HIDDEN,
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,128}\b"), HIDDEN),
    (re.compile(r"\bAIza[A-Za-z0-9_-]{30,200}"), HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,5000}\.[A-Za-z0-9_.-]{8,5000}"), HIDDEN),
    (
        re.compile(r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)(?:(?!-----END).){1,10000}"),
        rf"\1 {HIDDEN} ",
    ),
)
"""What is a secret by its form: credentials and signatures in URLs, assignments, options, known
prefixes, JWTs, private keys."""


def public_text(text: str, longest: int, secrets: Iterable[str] = ()) -> str:
    """Return a text as one line without secrets and of bounded length.

    Args:
        text: a text that another process or a user may have chosen.
        longest: maximum number of characters; more are cut, with `...` at the end.
        secrets: values that are known to be secret.
    """
    lines = [_HEADER.sub(_hidden, printable(line)) for line in text[:_MAX_READ].split("\n")]
    line = _redacted(" ".join(lines), secrets)
    return line if len(line) <= longest else line[: max(longest - 3, 0)] + "..."


def _redacted(text: str, secrets: Iterable[str] = ()) -> str:
    for secret in sorted(secrets, key=len, reverse=True):  # one may be part of another
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    for pattern, replacement in _SECRETS:
        text = pattern.sub(_hidden if replacement is None else replacement, text)
    return text


def _hidden(match: re.Match[str]) -> str:
    """Return an assignment without its value."""
    return f"{match['name']}{match['is']}{match['quote'] or ''}{HIDDEN}"
