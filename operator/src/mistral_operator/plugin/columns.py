"""Plain columns for a terminal. Pure.

Texts of others, such as messages of pods, are printed without characters that control a terminal.
"""

import textwrap
from collections.abc import Iterable, Sequence

from mistral_operator.kube.timestamps import parse_time
from mistral_server.contract.lenient import printable

_WIDTH = 110
"""Characters of a line; tables may be wider."""

_NAME_WIDTH = 14


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table, indented; an empty cell is a dash."""
    cells = [list(headings), *([printable(one) or "-" for one in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  "
        + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def fields(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return the lines of named values; values that are too long continue below themselves."""
    lines = []
    for name, value in pairs:
        lines += _wrapped(printable(value) or "-", f"  {name.ljust(_NAME_WIDTH)} ")
    return lines


def paragraphs(texts: Iterable[str], indent: str = "  ") -> list[str]:
    """Return the lines of texts, each indented and wrapped."""
    return [line for text in texts for line in _wrapped(printable(text), indent)]


def _wrapped(text: str, head: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


def seconds_between(earlier: str, later: str) -> float | None:
    """Return the time between two timestamps in seconds, None if one of them is none."""
    try:
        return (parse_time(later) - parse_time(earlier)).total_seconds()
    except (ValueError, TypeError):
        return None


def age(since: str | None, now: str) -> str:
    """Return the time since a timestamp as kubectl does, such as 5m; empty if it is not known."""
    elapsed = seconds_between(since or "", now)
    if elapsed is None:
        return ""
    seconds = max(0, int(elapsed))
    for unit, size, most in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172_800)):
        if seconds < most:
            return f"{seconds // size}{unit}"
    return f"{seconds // 86_400}d"
