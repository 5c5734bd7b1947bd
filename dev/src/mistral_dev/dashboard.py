"""The Grafana dashboard of the chart, generated from a table of panels.

Rates come from the recording rules in the chart's rules/mistral.yaml, so that the dashboard shows
what the alerts compare.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

WIDTH, HEIGHT, COLUMNS = 8, 8, 3
"""Grafana's grid is 24 units wide."""

_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_CHOSEN = 'namespace=~"$namespace", name=~"$name"'
_WHO = "{{namespace}}/{{name}}"

CARD_RATES = {"model card, 3.1": 0.0211, "model card, 3.2": 0.0129}
"""Rates of endless generations in the model card. Its prompts and rule are not published, so these
are reference lines, and never a goal or an alert."""


@dataclass(frozen=True)
class Panel:
    """One panel: expressions by their legends."""

    title: str
    description: str
    queries: dict[str, str]
    unit: str = "short"
    references: dict[str, float] = field(default_factory=dict)
    """Constant lines."""
    kind: Literal["timeseries", "state-timeline"] = "timeseries"

    def expressions(self) -> dict[str, str]:
        """Return all expressions by their legends, the constant lines among them."""
        return self.queries | {name: f"vector({at})" for name, at in self.references.items()}


def _interval(what: str) -> dict[str, str]:
    """Return a rate of the last hour, both ends of its interval, and where the alert begins."""
    return {
        _WHO: f"mistral:{what}:ratio1h{{{_CHOSEN}}}",
        f"{_WHO} 95 % from": f"mistral:{what}:wilson_lower1h{{{_CHOSEN}}}",
        f"{_WHO} 95 % to": f"mistral:{what}:wilson_upper1h{{{_CHOSEN}}}",
        "alert above": f"mistral:{what}:alert_above",
    }


def _rate(metric: str, label: str) -> str:
    return f"sum by ({label}) (rate({metric}{{{_CHOSEN}}}[5m]))"


def _first_token(quantile: float) -> str:
    buckets = f"rate(vllm:time_to_first_token_seconds_bucket{{{_CHOSEN}}}[5m])"
    return f"histogram_quantile({quantile}, sum by (namespace, name, le) ({buckets}))"


SECTIONS: dict[str, tuple[Panel, ...]] = {
    "Loops": (
        Panel(
            "Loop rate, last hour",
            "Share of generations that looped, with its 95 % interval. Consider the count in the"
            " next panel. The dashed lines show the model card's rates for reference.",
            _interval("generation_loops"),
            "percentunit",
            CARD_RATES,
        ),
        Panel(
            "Generations, last hour",
            "Number of generations behind the loop rate. It takes 3,900 to distinguish 2.11 % from"
            " 1.29 %.",
            {
                _WHO: f"mistral:generations:increase1h{{{_CHOSEN}}}",
                f"{_WHO} looped": f"mistral:generation_loops:increase1h{{{_CHOSEN}}}",
            },
        ),
        Panel(
            "Wasted tokens, last hour",
            "Tokens that only repeated earlier text in a loop.",
            {_WHO: f"mistral:generation_loop_tokens:increase1h{{{_CHOSEN}}}"},
        ),
    ),
    "Tool calls": (
        Panel(
            "Tool error rate, last hour",
            "Share of tool calls that the client cannot execute, with its 95 % interval. Consider"
            " the count in the next panel.",
            _interval("tool_call_errors"),
            "percentunit",
        ),
        Panel(
            "Tool calls, last hour",
            "Number of tool calls behind the error rate.",
            {
                _WHO: f"mistral:tool_calls:increase1h{{{_CHOSEN}}}",
                f"{_WHO} errors": f"mistral:tool_call_errors:increase1h{{{_CHOSEN}}}",
            },
        ),
        Panel(
            "Tool calls by outcome",
            "Why tool calls cannot be executed. docs/gate.md explains each outcome.",
            {"{{outcome}}": _rate("mistral_tool_calls_total", "outcome")},
            "reqps",
        ),
    ),
    "Requests": (
        Panel(
            "Requests in flight",
            "Productive and looping requests. Looping ones occupy the GPU and produce nothing"
            " useful.",
            {"{{state}}": f"sum by (state) (mistral_requests_in_flight{{{_CHOSEN}}})"},
        ),
        Panel(
            "Generations by finish reason",
            "`repetition` is a stopped loop, `abort` a client that disconnected.",
            {"{{finish_reason}}": _rate("mistral_generations_total", "finish_reason")},
            "reqps",
        ),
        Panel(
            "The gate",
            "Requests that the gate changed or rejected by the resource's policy, and its errors.",
            {
                "changed: {{change}}": _rate("mistral_requests_changed_total", "change"),
                "refused: {{reason}}": _rate("mistral_requests_refused_total", "reason"),
                "error: {{where}}": _rate("mistral_gate_errors_total", "where"),
            },
            "reqps",
        ),
    ),
    "vLLM": (
        Panel(
            "Time to first token",
            "Time to first token, as measured by vLLM.",
            {f"{_WHO} p50": _first_token(0.5), f"{_WHO} p95": _first_token(0.95)},
            "s",
        ),
        Panel(
            "KV cache",
            "KV cache usage of the fullest replica.",
            {_WHO: f"max by (namespace, name) (vllm:kv_cache_usage_perc{{{_CHOSEN}}})"},
            "percentunit",
        ),
        Panel(
            "Queue",
            "Running and waiting requests in vLLM.",
            {
                f"{_WHO} running": "sum by (namespace, name)"
                f" (vllm:num_requests_running{{{_CHOSEN}}})",
                f"{_WHO} waiting": "sum by (namespace, name)"
                f" (vllm:num_requests_waiting{{{_CHOSEN}}})",
            },
        ),
    ),
    "Endpoints": (
        Panel(
            "Conditions",
            "Conditions that are True. `kubectl get msd -o wide` shows the reason.",
            {
                f"{_WHO} {{{{type}}}}": "max by (namespace, name, type)"
                f' (mistral_deployment_condition{{{_CHOSEN}, status="True"}})'
                " or 0 * max by (namespace, name, type)"
                f" (mistral_deployment_condition{{{_CHOSEN}}})"
            },
            kind="state-timeline",
        ),
        Panel(
            "Replicas",
            "Desired, existing and ready replicas.",
            {
                f"{_WHO} {{{{state}}}}": "max by (namespace, name, state)"
                f" (mistral_deployment_replicas{{{_CHOSEN}}})"
            },
        ),
        Panel(
            "Out-of-memory failures, last hour",
            "Memory failures by class. docs/memory.md explains each class and its remedies.",
            {f"{_WHO} {{{{class}}}}": f"mistral:oom_events:increase1h{{{_CHOSEN}}}"},
        ),
        Panel(
            "Autoscaling",
            "Productive requests in flight, the number of replicas that the operator decided, and"
            " whether loops keep it from adding replicas. See docs/autoscaling.md.",
            {
                f"{_WHO} load": f"mistral_operator_autoscaling_load{{{_CHOSEN}}}",
                f"{_WHO} replicas": f"mistral_operator_autoscaling_desired_replicas{{{_CHOSEN}}}",
                f"{_WHO} frozen": f"mistral_operator_autoscaling_frozen{{{_CHOSEN}}}",
            },
        ),
    ),
    "Operator": (
        Panel(
            "Reconciliations by outcome",
            "`retry` and `error` are requeued with increasing delay.",
            {"{{outcome}}": "sum by (outcome) (rate(mistral_operator_reconcile_total[5m]))"},
            "ops",
        ),
        Panel(
            "Duration of a reconciliation",
            "Median and 95th percentile.",
            {
                f"p{percent}": f"histogram_quantile({percent / 100}, sum by (le)"
                " (rate(mistral_operator_reconcile_seconds_bucket[5m])))"
                for percent in (50, 95)
            },
            "s",
        ),
        Panel(
            "Work queue",
            "Resources queued for reconciliation, resources that wait for a retry, and replicas"
            " that hold the Lease.",
            {
                "waiting": "sum(mistral_operator_queue_depth)",
                "retrying": "sum(mistral_operator_queue_retrying)",
                "leaders": "sum(mistral_operator_leader)",
            },
        ),
    ),
}


def dashboard() -> str:
    """Return the dashboard as Grafana imports it."""
    document = {
        "title": "Mistral Small",
        "uid": "mistral-small-operator",
        "tags": ["mistral", "vllm"],
        "schemaVersion": 39,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                _variable("namespace", "label_values(mistral_deployment_condition, namespace)"),
                _variable(
                    "name",
                    'label_values(mistral_deployment_condition{namespace=~"$namespace"}, name)',
                ),
            ]
        },
        "panels": list(_panels()),
    }
    return json.dumps(document, indent=2) + "\n"


def _panels() -> Iterator[dict[str, Any]]:
    """Yield a row for each section, and below it the section's panels from left to right."""
    number, y = 0, 0
    for title, panels in SECTIONS.items():
        number += 1
        position = {"x": 0, "y": y, "w": WIDTH * COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": title, "gridPos": position, "panels": []}
        y += 1
        for at, panel in enumerate(panels):
            number += 1
            row, column = divmod(at, COLUMNS)
            position = {"x": column * WIDTH, "y": y + row * HEIGHT, "w": WIDTH, "h": HEIGHT}
            yield {"id": number, "gridPos": position, **_panel(panel)}
        y += -(-len(panels) // COLUMNS) * HEIGHT


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.kind == "state-timeline":
        names = {"0": {"text": "not True"}, "1": {"text": "True"}}
        defaults = {"mappings": [{"type": "value", "options": names}]}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "fieldConfig": {
            "defaults": defaults,
            "overrides": [_dashed(name) for name in panel.references],
        },
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": _DATASOURCE,
                "expr": expression,
                "legendFormat": legend,
            }
            for at, (legend, expression) in enumerate(panel.expressions().items())
        ],
    }


def _dashed(name: str) -> dict[str, Any]:
    """Return the overrides that draw a constant line dashed."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [
            {"id": "color", "value": {"mode": "fixed", "fixedColor": "text"}},
            {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}},
        ],
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,  # with every change of the time range: endpoints come and go
        "multi": True,
        "includeAll": True,
        "current": {"text": "All", "value": "$__all"},
    }
