"""The legend below a panel: a color and a name for each series, in as many rows as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mistral_dev.panels import theme
from mistral_dev.panels.boxes import Box, canvas, text_width

_ROW = 17.0
_MARK, _SPACE = 14.0, 14.0
MOST_ROWS = 6
"""More are cut, as Grafana scrolls: the last entry says how many names there are more."""


@dataclass(frozen=True)
class Entry:
    """A series in a legend."""

    name: str
    color: str
    dashed: bool = False


def rows_of(figure: Figure, entries: Sequence[Entry], width: float) -> list[list[Entry]]:
    """Return the entries in rows that fit a width."""
    rows: list[list[Entry]] = []
    used = width
    for entry in entries:
        needed = _width(figure, entry)
        if used + needed > width and (used or not rows):
            rows.append([])
            used = 0.0
        rows[-1].append(entry)
        used += needed
    if len(rows) <= MOST_ROWS:
        return rows
    hidden = sum(map(len, rows[MOST_ROWS - 1 :]))
    return [*rows[: MOST_ROWS - 1], [Entry(f"and {hidden} more", theme.PANEL)]]


def height_of(rows: Sequence[Sequence[Entry]]) -> float:
    """Return the height of a legend in pixels."""
    return len(rows) * _ROW


def draw(figure: Figure, box: Box, rows: Sequence[Sequence[Entry]]) -> None:
    """Draw a legend."""
    axes = canvas(figure, box)
    for number, row in enumerate(rows):
        x, y = 0.0, (number + 0.5) * _ROW
        for entry in row:
            style: Literal["-", ":"] = ":" if entry.dashed else "-"
            line = Line2D([x, x + _MARK], [y, y], color=entry.color, lw=2.5, linestyle=style)
            axes.add_line(line)
            axes.text(
                x + _MARK + 5, y, entry.name, va="center", fontsize=theme.SMALL, color=theme.TEXT
            )
            x += _width(figure, entry)


def _width(figure: Figure, entry: Entry) -> float:
    return _MARK + 5 + text_width(figure, entry.name, theme.SMALL) + _SPACE
