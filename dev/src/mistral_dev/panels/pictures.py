"""Pictures of rows of the dashboard: panels on Grafana's grid, as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.figure import Figure
from PIL import Image

from mistral_dev.panels import theme, tiles, timelines, timeseries
from mistral_dev.panels.boxes import Box, canvas, of_panel
from mistral_dev.panels.prometheus import Span
from mistral_dev.panels.queries import DrawnPanel, DrawnRow, Mark

_HEAD = 34.0
"""Pixels for the title of a row."""


def png(figure: Figure) -> bytes:
    """Return a picture as a small PNG."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=theme.DPI, facecolor=theme.BACKGROUND)
    image = Image.open(drawn).convert("RGB").quantize(palette=_palette(), dither=Image.Dither.NONE)
    image.save(small, format="PNG", optimize=True)
    return small.getvalue()


def _palette() -> Image.Image:
    """Return the theme's colors as a palette, which makes pictures a third as large."""
    colors = [channel for color in theme.all_colors() for channel in theme.channels(color)]
    palette = Image.new("P", (1, 1))
    palette.putpalette(colors)
    return palette


def figure_of(row: DrawnRow, span: Span, marks: Sequence[Mark]) -> Figure:
    """Return the picture of a row, before it is written."""
    cells = [drawn.panel.cell for drawn in row.panels]
    first = min(cell.y for cell in cells)
    units = max(cell.y + cell.height for cell in cells) - first
    height = _HEAD + units * theme.UNIT_HEIGHT
    figure = Figure(figsize=(theme.WIDTH / theme.DPI, height / theme.DPI), dpi=theme.DPI)
    head = canvas(figure, Box(0, 0, theme.WIDTH, _HEAD), theme.BACKGROUND)
    head.text(
        theme.GAP + 4, _HEAD / 2, row.row.title, color=theme.TEXT, fontsize=theme.ROW, va="center"
    )
    for drawn in row.panels:
        _draw_panel(figure, of_panel(drawn.panel.cell, first, _HEAD), drawn, span, marks)
    return figure


def _draw_panel(
    figure: Figure, box: Box, drawn: DrawnPanel, span: Span, marks: Sequence[Mark]
) -> None:
    """Draw a panel with its title.

    Raises:
        KeyError: panels of its kind cannot be drawn.
    """
    axes = canvas(figure, box)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(theme.BORDER)
    axes.text(
        10,
        16,
        drawn.panel.title,
        color=theme.TEXT,
        fontsize=theme.TITLE,
        fontweight="bold",
        va="center",
    )
    inner = box.inside(left=10, top=30, right=10, bottom=8)
    if drawn.absence is not None:
        reason = f"No data: {drawn.absence}" if drawn.absence else "No data"
        axes.text(
            box.width / 2,
            box.height / 2,
            reason,
            color=theme.FAINT,
            fontsize=theme.TITLE,
            ha="center",
            va="center",
        )
        return
    match drawn.panel.kind:
        case "timeseries":
            timeseries.draw(figure, inner, drawn, span, marks)
        case "stat":
            tiles.draw(figure, inner, drawn)
        case "state-timeline":
            timelines.draw(figure, inner, drawn, span)
        case kind:
            raise KeyError(f"no way to draw a panel of kind {kind}: add it to {__name__}")
