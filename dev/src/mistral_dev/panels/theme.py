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
    "purple": "#b877d9",
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


def tile(name: str) -> str:
    """Return a named color as Grafana shades it, so that white text on it is legible."""
    return blended(NAMED[name], "#000000", 0.72)


def blended(color: str, background: str, share: float) -> str:
    """Return a color that covers a background by a share."""
    pairs = zip(channels(color), channels(background), strict=True)
    return "#" + "".join(f"{round(share * one + (1 - share) * other):02x}" for one, other in pairs)


def channels(color: str) -> tuple[int, int, int]:
    """Return red, green and blue of a color."""
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue


def all_colors() -> list[str]:
    """Return all colors of pictures, with shades for the edges of lines and letters."""
    plain = {BACKGROUND, PANEL, BORDER, GRID}
    inks = {TEXT, FAINT, *NAMED.values(), *PALETTE}
    shades = {blended(ink, PANEL, share) for ink in inks for share in (0.1, 0.3, 0.5, 0.75, 1)}
    tiles = {blended("#ffffff", tile(name), share) for name in NAMED for share in (0, 0.3, 0.6, 1)}
    heads = {blended(TEXT, BACKGROUND, share) for share in (0.3, 0.6, 1)}
    return sorted(plain | shades | tiles | heads)


def color(number: int) -> str:
    """Return the color of a panel's series by its number."""
    return PALETTE[number % len(PALETTE)]
