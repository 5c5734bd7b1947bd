"""Every target of every panel, evaluated: the dashboard's variables filled in, the series named."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mistral_dev.panels.board import BoardPanel, Row
from mistral_dev.panels.prometheus import Answers

ABSENCES = {
    r"DCGM_": "the DCGM exporter is not installed",
    r"mistral_server_compile_cache": "no endpoint has a spec.cache",
}
"""Why a panel has no data, by what its expressions contain."""


@dataclass(frozen=True)
class Line:
    """A named series."""

    name: str
    points: tuple[tuple[float, float], ...]

    def has_numbers(self) -> bool:
        """Return whether any value is a number: a quantile of no requests is not."""
        return any(math.isfinite(value) for _, value in self.points)


@dataclass(frozen=True)
class DrawnPanel:
    """A panel with its data."""

    panel: BoardPanel
    lines: tuple[Line, ...]

    @property
    def absence(self) -> str | None:
        """Why there is no data, empty if that is not known, or None if there is some."""
        if any(line.has_numbers() for line in self.lines):
            return None
        text = " ".join(target.expression for target in self.panel.targets)
        reasons = (reason for part, reason in ABSENCES.items() if re.search(part, text))
        return next(reasons, "")


@dataclass(frozen=True)
class DrawnRow:
    """A row with the data of its panels."""

    row: Row
    panels: tuple[DrawnPanel, ...]


@dataclass(frozen=True)
class Mark:
    """What all panels mark: times at which an annotation's expression has a value."""

    name: str
    color: str
    times: tuple[float, ...]


def variables(answers: Answers) -> dict[str, str]:
    """Return the dashboard's variables when all namespaces and names are chosen."""
    metric = "mistral_deployment_condition"
    return {label: all_of(answers.label_values(label, metric)) for label in ("namespace", "name")}


def all_of(values: Iterable[str]) -> str:
    """Return the regular expression that Grafana makes of a variable with several values."""
    return f"({'|'.join(values)})"


def substituted(expression: str, chosen: Mapping[str, str]) -> str:
    """Return an expression with the dashboard's variables filled in.

    Raises:
        KeyError: the dashboard has no such variable.
    """
    return re.sub(r"\$(\w+)", lambda match: chosen[match[1]], expression)


def legend(pattern: str, labels: Mapping[str, str]) -> str:
    """Return the name of a series as Grafana makes it of a pattern with labels in braces."""
    return re.sub(r"{{\s*(\w+)\s*}}", lambda match: labels.get(match[1], ""), pattern)


def drawn_row(row: Row, answers: Answers, chosen: Mapping[str, str]) -> DrawnRow:
    """Return a row with the result of every target."""
    return DrawnRow(row, tuple(_drawn_panel(panel, answers, chosen) for panel in row.panels))


def marks(
    annotations: Mapping[str, tuple[str, str]], answers: Answers, chosen: Mapping[str, str]
) -> tuple[Mark, ...]:
    """Return what the dashboard's annotations mark."""
    return tuple(
        Mark(
            name,
            color,
            tuple(
                sorted(
                    {
                        at
                        for series in answers.over_time(substituted(expression, chosen))
                        for at, _ in series.points
                    }
                )
            ),
        )
        for name, (expression, color) in annotations.items()
    )


def _drawn_panel(panel: BoardPanel, answers: Answers, chosen: Mapping[str, str]) -> DrawnPanel:
    lines: list[Line] = []
    for target in panel.targets:
        ask = answers.at_the_end if target.instant else answers.over_time
        lines += [
            Line(legend(target.legend, series.labels), series.points)
            for series in ask(substituted(target.expression, chosen))
        ]
    return DrawnPanel(panel, tuple(lines))
