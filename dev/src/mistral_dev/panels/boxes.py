"""Where things are in a picture, in pixels from the top left corner, as browsers count."""

from __future__ import annotations

from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mistral_dev.panels import theme
from mistral_dev.panels.board import Cell


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    width: float
    height: float

    def inside(
        self, *, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0
    ) -> Box:
        """Return the rectangle without these margins."""
        width, height = self.width - left - right, self.height - top - bottom
        return replace(self, left=self.left + left, top=self.top + top, width=width, height=height)


def of_panel(cell: Cell, first_y: int, top: float) -> Box:
    """Return where a panel is in the picture of its row, whose panels begin at `first_y`."""
    unit = (theme.WIDTH - theme.GAP) / 24
    return Box(
        left=theme.GAP + cell.x * unit,
        top=top + (cell.y - first_y) * theme.UNIT_HEIGHT,
        width=cell.width * unit - theme.GAP,
        height=cell.height * theme.UNIT_HEIGHT - theme.GAP,
    )


def axes_in(figure: Figure, box: Box) -> Axes:
    """Return new axes that fill a rectangle, without frame and ticks."""
    width, height = figure.get_size_inches() * figure.dpi
    bottom = height - box.top - box.height
    at = (box.left / width, bottom / height, box.width / width, box.height / height)
    axes = figure.add_axes(at)
    axes.set_facecolor(theme.PANEL)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelsize=theme.SMALL, labelcolor=theme.FAINT)
    return axes


def canvas(figure: Figure, box: Box, background: str = theme.PANEL) -> Axes:
    """Return axes for text and shapes whose coordinates are pixels of the rectangle."""
    axes = axes_in(figure, box)
    axes.set_xlim(0, box.width)
    axes.set_ylim(box.height, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor(background)
    return axes


def text_width(figure: Figure, text: str, size: float) -> float:
    """Return the pixels that a text takes in a row."""
    probe = figure.text(0, 0, text, fontsize=size)
    width: float = probe.get_window_extent().width
    probe.remove()
    return width
