"""The dashboard as Grafana reads it: rows of panels, from the JSON that the chart contains."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """One query of a panel.

    Args:
        expression: PromQL with the dashboard's variables.
        legend: the name of each series, with labels in double braces.
        instant: only the newest value is queried.
    """

    expression: str
    legend: str
    instant: bool


@dataclass(frozen=True)
class Cell:
    """Position and size on Grafana's grid, which is 24 units wide."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Override:
    """How some series of a panel are drawn.

    Args:
        names: a regular expression for their names.
        color: Grafana's name of their color, or None if they have the next of the palette.
        dashed: whether their lines are dashed.
    """

    names: str
    color: str | None
    dashed: bool

    def matches(self, name: str) -> bool:
        """Return whether this applies to a series."""
        return re.search(self.names, name) is not None


@dataclass(frozen=True)
class BoardPanel:
    """One panel.

    Args:
        title: what it shows.
        kind: Grafana's type of panel.
        unit: Grafana's id of the unit.
        cell: where it is.
        targets: its queries.
        states: text and color of each value, where values are states.
        overrides: how some series are drawn.
        steps: whether lines are steps between whole numbers.
    """

    title: str
    kind: str
    unit: str
    cell: Cell
    targets: tuple[Target, ...]
    states: Mapping[float, tuple[str, str]]
    overrides: tuple[Override, ...]
    steps: bool

    def color_of(self, name: str) -> str | None:
        """Return the fixed color of a series, or None if it has none."""
        colors = (one.color for one in self.overrides if one.color and one.matches(name))
        return next(colors, None)

    def is_dashed(self, name: str) -> bool:
        """Return whether a series is drawn as a dashed line."""
        return any(one.dashed and one.matches(name) for one in self.overrides)


@dataclass(frozen=True)
class Row:
    """A row of the dashboard: its title, and the panels below it."""

    title: str
    panels: tuple[BoardPanel, ...]

    @property
    def file_name(self) -> str:
        """The name of the row's picture."""
        return f"dashboard-{self.title.lower().replace(' ', '-')}.png"


def rows(document: Mapping[str, Any]) -> tuple[Row, ...]:
    """Return the rows of a dashboard with their panels.

    Raises:
        KeyError: a panel lacks what Grafana needs to draw it.
    """
    result: list[tuple[str, list[BoardPanel]]] = []
    for panel in document["panels"]:
        if panel["type"] == "row":
            result.append((panel["title"], []))
        else:
            result[-1][1].append(_panel(panel))
    return tuple(Row(title, tuple(panels)) for title, panels in result)


def mark_expressions(document: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return expression and color of what all panels mark in time, by name."""
    return {one["name"]: (one["expr"], one["iconColor"]) for one in document["annotations"]["list"]}


def _panel(panel: Mapping[str, Any]) -> BoardPanel:
    cell, config = panel["gridPos"], panel["fieldConfig"]
    return BoardPanel(
        title=panel["title"],
        kind=panel["type"],
        unit=config["defaults"].get("unit", "none"),
        cell=Cell(cell["x"], cell["y"], cell["w"], cell["h"]),
        targets=tuple(
            Target(one["expr"], one["legendFormat"], one.get("instant", False))
            for one in panel["targets"]
        ),
        states={
            float(value): (shown["text"], shown["color"])
            for mapping in config["defaults"].get("mappings", ())
            for value, shown in mapping["options"].items()
        },
        overrides=tuple(map(_override, config["overrides"])),
        steps=config["defaults"].get("custom", {}).get("lineInterpolation") == "stepAfter",
    )


def _override(override: Mapping[str, Any]) -> Override:
    """Return an override, whose matcher is a name, or a regular expression between slashes."""
    matcher, properties = override["matcher"], override["properties"]
    by_name = {one["id"]: one["value"] for one in properties}
    exact = matcher["id"] == "byName"
    return Override(
        names=f"^{re.escape(matcher['options'])}$" if exact else matcher["options"].strip("/"),
        color=by_name["color"]["fixedColor"] if "color" in by_name else None,
        dashed="custom.lineStyle" in by_name,
    )
