"""What a panel of the dashboard consists of, and the expressions that several panels have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

CHOSEN = 'namespace=~"$namespace", name=~"$name"'
WHO = "{{namespace}}/{{name}}"
BY = "by (namespace, name)"


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

    def expressions(self) -> dict[str, str]:
        """Return all expressions by their legends, the constant lines among them."""
        return self.queries | {name: f"vector({at})" for name, at in self.references.items()}


def interval(what: str, window: str = "1h") -> dict[str, str]:
    """Return a rate, both ends of its interval, and where the alert begins."""
    return {
        WHO: f"mistral:{what}:ratio{window}{{{CHOSEN}}}",
        f"{WHO} 95 % from": f"mistral:{what}:wilson_lower{window}{{{CHOSEN}}}",
        f"{WHO} 95 % to": f"mistral:{what}:wilson_upper{window}{{{CHOSEN}}}",
        "alert above": f"mistral:{what}:alert_above",
    }


def rate(metric: str, label: str) -> str:
    """Return the rate of a counter of all chosen endpoints, by a label."""
    return f"sum by ({label}) (rate({metric}{{{CHOSEN}}}[5m]))"


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


def of_gpus(metric: str) -> dict[str, str]:
    """Return a metric of the GPUs that the endpoints' pods use.

    Prometheus calls the pod's labels `exported_...` unless it honors those of the exporter.
    """
    return {
        f"{{{{{prefix}pod}}}} GPU {{{{gpu}}}}": f"{metric}{{"
        f'{prefix}namespace=~"$namespace", {prefix}pod=~"($name)-.+"}}'
        for prefix in ("exported_", "")
    }
