"""A panel of lines over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from mistral_dev.panels import legends, theme, units
from mistral_dev.panels.boxes import Box, axes_in
from mistral_dev.panels.prometheus import Span
from mistral_dev.panels.queries import DrawnPanel, Line, Mark

_LEFT, _TIMES = 68.0, 24.0
"""Pixels for the values and for the times."""
_MOST_TIMES = 6
_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440)
"""Distances of times that are labeled."""


def draw(figure: Figure, box: Box, drawn: DrawnPanel, span: Span, marks: Sequence[Mark]) -> None:
    """Draw the lines of a panel with axes, marks and a legend."""
    entries = [
        legends.Entry(line.name, _color(drawn, number), drawn.panel.is_dashed(line.name))
        for number, line in enumerate(drawn.lines)
    ]
    legend = legends.rows_of(figure, entries, box.width)
    height = legends.height_of(legend)
    axes = axes_in(figure, box.inside(left=_LEFT, top=4, right=10, bottom=height + _TIMES + 4))
    _draw_marks(axes, marks, span)
    for entry, line in zip(entries, drawn.lines, strict=True):
        _draw_line(axes, line, entry, span, steps=drawn.panel.steps)
    _set_axes(axes, drawn, span)
    legends.draw(figure, box.inside(top=box.height - height), legend)


def set_times(axes: Axes, span: Span) -> None:
    """Label the horizontal axis, which is Unix time, with times of the day at full minutes."""
    minutes = next(one for one in _MINUTES if (span.end - span.start) / (60 * one) <= _MOST_TIMES)
    axes.set_xlim(span.start, span.end)
    axes.tick_params(axis="x", pad=6)
    axes.xaxis.set_major_locator(MultipleLocator(60 * minutes))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda at, _: _time_of_day(at) if _has_room(at, span) else "")
    )


def _time_of_day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M}"


def _has_room(at: float, span: Span) -> bool:
    """Return whether a label at a time is not cut at the edge of its panel."""
    margin = 0.03 * (span.end - span.start)
    return span.start + margin / 2 <= at <= span.end - margin


def _color(drawn: DrawnPanel, number: int) -> str:
    fixed = drawn.panel.color_of(drawn.lines[number].name)
    return theme.NAMED[fixed] if fixed else theme.color(number)


def _draw_line(axes: Axes, line: Line, entry: legends.Entry, span: Span, *, steps: bool) -> None:
    """Draw a line that is interrupted where there is no value, and has dots where it is alone."""
    times, values = _with_gaps(line.points, span.step)
    style = (0, (4, 3)) if entry.dashed else "-"
    axes.plot(
        times,
        values,
        color=entry.color,
        linestyle=style,
        linewidth=1.4,
        drawstyle="steps-post" if steps else "default",
    )
    alone = [
        (time, value)
        for at, (time, value) in enumerate(zip(times, values, strict=True))
        if not math.isnan(value) and _is_gap(values, at - 1) and _is_gap(values, at + 1)
    ]
    for time, value in alone:
        axes.plot([time], [value], color=entry.color, marker="o", markersize=3)


def _is_gap(values: Sequence[float], at: int) -> bool:
    return not 0 <= at < len(values) or math.isnan(values[at])


def _with_gaps(
    points: Sequence[tuple[float, float]], step: float
) -> tuple[list[float], list[float]]:
    """Return times and values with a NaN where evaluations had no result."""
    times: list[float] = []
    values: list[float] = []
    for at, value in points:
        if times and at - times[-1] > 1.5 * step:
            times.append(times[-1] + step)
            values.append(math.nan)
        times.append(at)
        values.append(value)
    return times, values


def _draw_marks(axes: Axes, marks: Sequence[Mark], span: Span) -> None:
    """Shade the times of marks, with a line where each begins."""
    for mark in marks:
        color = theme.NAMED[mark.color]
        for start, end in stretches_of(mark.times, span.step):
            axes.axvspan(start, end, color=color, alpha=0.1, linewidth=0)
            axes.axvline(start, color=color, linewidth=1, alpha=0.5)


def stretches_of(times: Sequence[float], step: float) -> list[tuple[float, float]]:
    """Return first and last of each group of times that follow each other step by step."""
    groups: list[tuple[float, float]] = []
    for at in times:
        if groups and at - groups[-1][1] <= 1.5 * step:
            groups[-1] = (groups[-1][0], at)
        else:
            groups.append((at, at))
    return groups


def _set_axes(axes: Axes, drawn: DrawnPanel, span: Span) -> None:
    unit = drawn.panel.unit
    values = [value for line in drawn.lines for _, value in line.points if math.isfinite(value)]
    top = max(values, default=0.0)
    axes.set_ylim(min(0.0, *values, 0.0), 1.08 * top if top > 0 else 1.0)
    minutes = unit == "s" and top > 60
    steps = [1, 1.5, 3, 6, 10] if minutes else [1, 2, 2.5, 5, 10]
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=drawn.panel.steps, steps=steps))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: units.text(value, unit)))
    axes.grid(color=theme.GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    set_times(axes, span)
