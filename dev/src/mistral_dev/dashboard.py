"""The Grafana dashboard of the chart, generated from the table of panels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mistral_dev.dashboard_panel import Panel
from mistral_dev.dashboard_panels import ANNOTATIONS, SECTIONS

WIDTH, HEIGHT, COLUMNS = 8, 8, 3
"""Grafana's grid is 24 units wide."""

_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_DOCUMENTATION = (
    "https://github.com/mistral-small-operator/mistral-small-operator/blob/main/docs/monitoring.md"
)


def dashboard() -> str:
    """Return the dashboard as Grafana imports it."""
    document = {
        "title": "Mistral Small",
        "uid": "mistral-small-operator",
        "tags": ["mistral", "vllm"],
        "schemaVersion": 39,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "links": [
            {
                "title": "Alerts and what to do",
                "type": "link",
                "url": f"{_DOCUMENTATION}#alerts",
                "targetBlank": True,
            }
        ],
        "annotations": {"list": [_annotation(name) for name in ANNOTATIONS]},
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
    options: dict[str, Any] = {}
    if panel.states:
        shown = {
            str(value): {"text": text, "color": color}
            for value, (text, color) in panel.states.items()
        }
        defaults = {"mappings": [{"type": "value", "options": shown}]}
    if panel.kind == "stat":
        defaults["noValue"] = "none"
        # The newest value alone: a deleted endpoint is not shown as it last was.
        options = {
            "options": {
                "colorMode": "background",
                "textMode": "value_and_name",
                "reduceOptions": {"calcs": ["last"]},
            }
        }
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        **options,
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
                **({"instant": True, "range": False} if panel.kind == "stat" else {}),
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


def _annotation(name: str) -> dict[str, Any]:
    """Return what marks the times at which an expression has a value, in all panels."""
    expression, color = ANNOTATIONS[name]
    return {
        "name": name,
        "datasource": _DATASOURCE,
        "enable": True,
        "iconColor": color,
        "expr": expression,
        "step": "60s",
        "titleFormat": name,
        "textFormat": "{{namespace}}/{{name}}",
    }
