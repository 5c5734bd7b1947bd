"""Colors and sizes of Grafana's dark theme."""

from __future__ import annotations

BACKGROUND = "#111217"
PANEL = "#181b1f"
BORDER = "#2c3036"
GRID = "#2c3036"
TEXT = "#ccccdc"
FAINT = "#8e8e9c"

NAMED = {
    "red": "#f2495c",
    "green": "#73bf69",
    "blue": "#5794f2",
    "orange": "#ff9830",
    "yellow": "#fade2a",
    "text": "#9fa7b3",
}
"""Grafana's names of colors, as far as the dashboard uses them."""

PALETTE = (
    *("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#96d98d"),
    *("#ffee52", "#c0d8ff", "#ffb357", "#ff7383", "#1f60c4", "#ca95e5", "#37872d", "#e0b400"),
)
"""The colors of series, in their order."""

DPI = 100
WIDTH = 1400
"""Pixels of a picture; GitHub shows documents about 1,000 wide."""
UNIT_HEIGHT = 42
"""Pixels of one unit of Grafana's grid, which is a little higher than Grafana's own 38: the text is
larger here, since pictures are shown smaller than they are."""
GAP = 8

SMALL, NORMAL, TITLE, ROW = 8.5, 9.5, 10.5, 13.0
"""Sizes of text in points."""


def color(number: int) -> str:
    """Return the color of a panel's series by its number."""
    return PALETTE[number % len(PALETTE)]
