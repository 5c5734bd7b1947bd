"""What a panel of the dashboard consists of, and the expressions that several panels have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

CHOSEN = 'namespace=~"$namespace", name=~"$name"'
WHO = "{{namespace}}/{{name}}"
BY = "by (namespace, name)"
LIMIT = "alert above"

GOOD, NOTICE, WARNING, BAD = "green", "yellow", "orange", "red"
OTHER = "blue"
"""What is neither good nor bad."""
NEUTRAL = "text"
"""What is there for reference."""


@dataclass(frozen=True)
class Panel:
    """One panel: expressions by their legends."""

    title: str
    description: str
    queries: dict[str, str]
    unit: str = "short"
    references: dict[str, float] = field(default_factory=dict)
    """Constant lines."""
    kind: Literal["timeseries", "state-timeline", "stat"] = "timeseries"
    states: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Text and color of each value, where values are states."""
    colors: dict[str, str] = field(default_factory=dict)
    """Colors of series by regular expressions for their names; others have the palette's next."""
    dashed: tuple[str, ...] = ()
    """Regular expressions for the names of series that are dashed lines."""
    counts: bool = False
    """Whether values are whole numbers, which change at once: lines are steps."""
    width: int = 8
    """Of the 24 units of Grafana's grid."""

    def expressions(self) -> dict[str, str]:
        """Return all expressions by their legends, the constant lines among them."""
        return self.queries | {name: f"vector({at})" for name, at in self.references.items()}


def share(
    title: str, description: str, what: str, window: str, references: dict[str, float] | None = None
) -> Panel:
    """Return the panel of a rate: dashed lines are the ends of its interval."""
    return Panel(
        title,
        description,
        interval(what, window),
        "percentunit",
        references or {},
        colors={f"^{LIMIT}$": BAD},
        dashed=("95 %",),
    )


def interval(what: str, window: str) -> dict[str, str]:
    """Return a rate, both ends of its interval, and where the alert begins."""
    return {
        WHO: f"mistral:{what}:ratio{window}{{{CHOSEN}}}",
        f"{WHO} 95 % from": f"mistral:{what}:wilson_lower{window}{{{CHOSEN}}}",
        f"{WHO} 95 % to": f"mistral:{what}:wilson_upper{window}{{{CHOSEN}}}",
        LIMIT: f"mistral:{what}:alert_above",
    }


def rate(metric: str, label: str) -> str:
    """Return the rate of a counter of all chosen endpoints, by a label.

    Counters have every value of their labels from the start, of which most never count anything:
    these have no line, and no name in the legend.
    """
    counter = f"{metric}{{{CHOSEN}}}"
    return f"sum by ({label}) (rate({counter}[5m])) and sum by ({label}) ({counter}) > 0"


def rate_of(metric: str) -> str:
    """Return the rate of a counter for each endpoint."""
    return f"sum {BY} (rate({metric}{{{CHOSEN}}}[5m]))"


def quantiles(metric: str) -> dict[str, str]:
    """Return median and 95th percentile of a histogram of vLLM."""
    buckets = f"sum by (namespace, name, le) (rate({metric}_bucket{{{CHOSEN}}}[5m]))"
    return {
        f"{WHO} p{percent}": f"histogram_quantile({percent / 100}, {buckets})"
        for percent in (50, 95)
    }


def condition(kind: str) -> str:
    """Return 1 for each endpoint whose condition is True, and 0 for others."""
    every = f"max {BY} (mistral_deployment_condition{{{CHOSEN}}})"
    true = f'mistral_deployment_condition{{{CHOSEN}, type="{kind}", status="True"}}'
    return f"(max {BY} ({true}) or 0 * {every})"


def conditions(selected: str) -> str:
    """Return 1 for each condition that labels select, and nothing for others."""
    return f"max by (namespace, name, type) (mistral_deployment_condition{{{CHOSEN}, {selected}}})"


def of_gpus(metric: str) -> dict[str, str]:
    """Return a metric of the GPUs that the endpoints' pods use.

    Prometheus calls the pod's labels `exported_...` unless it honors those of the exporter.
    """
    return {
        f"{{{{{prefix}pod}}}} GPU {{{{gpu}}}}": f"{metric}{{"
        f'{prefix}namespace=~"$namespace", {prefix}pod=~"($name)-.+"}}'
        for prefix in ("exported_", "")
    }
