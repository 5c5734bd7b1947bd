"""A panel of states over time: a row for each series, in the colors of its values."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from mistral_dev.panels import legends, theme
from mistral_dev.panels.boxes import Box, axes_in, text_width
from mistral_dev.panels.prometheus import Span
from mistral_dev.panels.queries import DrawnPanel, Line
from mistral_dev.panels.timeseries import set_times

_TIMES = 24.0


def draw(figure: Figure, box: Box, drawn: DrawnPanel, span: Span) -> None:
    """Draw a bar for each series, and the states below."""
    states = drawn.panel.states
    entries = [legends.Entry(text, theme.NAMED[color]) for text, color in states.values()]
    legend = legends.rows_of(figure, entries, box.width)
    height = legends.height_of(legend)
    widest = max(text_width(figure, line.name, theme.SMALL) for line in drawn.lines)
    axes = axes_in(figure, box.inside(left=widest + 10, right=10, bottom=height + _TIMES + 4))
    for number, line in enumerate(drawn.lines):
        for start, end, value in _stretches(line, span):
            color = theme.NAMED[states[value][1]]
            axes.barh(number, end - start, left=start, height=0.78, color=color, linewidth=0)
    axes.set_yticks(range(len(drawn.lines)), [line.name for line in drawn.lines])
    axes.set_ylim(len(drawn.lines) - 0.5, -0.5)
    set_times(axes, span)
    legends.draw(figure, box.inside(top=box.height - height), legend)


def _stretches(line: Line, span: Span) -> Iterator[tuple[float, float, float]]:
    """Yield start, end and value of each stretch of equal values."""
    start: float | None = None
    previous = (0.0, 0.0)
    for at, value in line.points:
        if start is None:
            start = at
        elif value != previous[1] or at - previous[0] > 1.5 * span.step:
            yield start, previous[0] + span.step, previous[1]
            start = at
        previous = at, value
    if start is not None:
        yield start, min(previous[0] + span.step, span.end), previous[1]
