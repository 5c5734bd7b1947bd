"""A panel of tiles, each with the newest value of a series, and its name."""

from __future__ import annotations

import math

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from mistral_dev.panels import theme, units
from mistral_dev.panels.boxes import Box, canvas
from mistral_dev.panels.queries import DrawnPanel, Line

_GAP = 6.0


def draw(figure: Figure, box: Box, drawn: DrawnPanel) -> None:
    """Draw the tiles of a panel in a column, or in columns of four."""
    axes = canvas(figure, box)
    columns = math.ceil(len(drawn.lines) / 4)
    per_column = math.ceil(len(drawn.lines) / columns)
    width, height = box.width / columns, box.height / per_column
    for number, line in enumerate(drawn.lines):
        column, row = divmod(number, per_column)
        left, top = column * width, row * height
        text, color = _state(drawn, line)
        axes.add_patch(
            FancyBboxPatch(
                (left + 3, top + 3),
                width - _GAP,
                height - _GAP,
                boxstyle="round,pad=0,rounding_size=3",
                facecolor=color,
                edgecolor="none",
            )
        )
        middle = top + height / 2
        axes.text(left + 14, middle, line.name, color="white", fontsize=theme.TITLE, va="center")
        axes.text(
            left + width - 14,
            middle,
            text,
            color="white",
            fontsize=theme.ROW,
            fontweight="bold",
            va="center",
            ha="right",
        )


def _state(drawn: DrawnPanel, line: Line) -> tuple[str, str]:
    """Return text and color of the newest value."""
    _, value = line.points[-1]
    text, color = drawn.panel.states.get(value, (units.text(value, drawn.panel.unit), "green"))
    return text, theme.tile(drawn.panel.color_of(line.name) or color)
