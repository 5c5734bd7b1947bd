"""The Grafana dashboard of the chart, generated from the table of panels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mistral_dev.dashboard_panel import NEUTRAL, Panel
from mistral_dev.dashboard_panels import ANNOTATIONS, SECTIONS

WIDTH, HEIGHT = 24, 8
"""Of Grafana's grid, and of a panel in it."""

_DASHES = {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}}
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
        position = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        yield {"id": number, "type": "row", "title": title, "gridPos": position, "panels": []}
        y += 1
        x = 0
        for panel in panels:
            number += 1
            if x + panel.width > WIDTH:
                x, y = 0, y + HEIGHT
            position = {"x": x, "y": y, "w": panel.width, "h": HEIGHT}
            yield {"id": number, "gridPos": position, **_panel(panel)}
            x += panel.width
        y += HEIGHT


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    options: dict[str, Any] = {}
    if panel.counts:
        defaults |= {"decimals": 0, "custom": {"lineInterpolation": "stepAfter"}}
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
            "overrides": [
                *(_reference(name) for name in panel.references),
                *(_colored(names, color) for names, color in panel.colors.items()),
                *map(_dashed, panel.dashed),
            ],
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


def _reference(name: str) -> dict[str, Any]:
    """Return the override that draws a constant line dashed, and in no color of a series."""
    matcher = {"id": "byName", "options": name}
    return {"matcher": matcher, "properties": [_color(NEUTRAL), _DASHES]}


def _colored(names: str, color: str) -> dict[str, Any]:
    return {"matcher": _matcher(names), "properties": [_color(color)]}


def _dashed(names: str) -> dict[str, Any]:
    return {"matcher": _matcher(names), "properties": [_DASHES]}


def _matcher(names: str) -> dict[str, str]:
    return {"id": "byRegexp", "options": f"/{names}/"}


def _color(name: str) -> dict[str, Any]:
    return {"id": "color", "value": {"mode": "fixed", "fixedColor": name}}


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
