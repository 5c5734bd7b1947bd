"""What `helm install` prints: how to begin, and which parts of monitoring are missing."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from chart_rendering import CHART, of_kind, render_all

AS_AN_OBJECT = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: notes
data:
  text: |
    {{- tpl (.Files.Get "notes.txt") . | nindent 4 }}
"""
"""`helm template` renders no notes, and `helm install` needs a cluster."""


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the chart that renders its notes as an object."""
    copy = tmp_path_factory.mktemp("chart") / "copy"
    shutil.copytree(CHART, copy)
    (copy / "templates" / "NOTES.txt").rename(copy / "notes.txt")
    (copy / "templates" / "notes.yaml").write_text(AS_AN_OBJECT)
    return copy


def notes(chart: Path, values: dict[str, Any]) -> str:
    """Return the notes on one line."""
    config_maps = of_kind(render_all(values, chart), "ConfigMap")
    (text,) = (one["data"]["text"] for one in config_maps if one["metadata"]["name"] == "notes")
    return " ".join(text.split())


RULES = {"prometheusRule": {"enabled": True}}
DASHBOARD = {"dashboard": {"enabled": True}}
SCRAPED: dict[str, Any] = {"metrics": {"podMonitor": {"enabled": True}}}
LABELED: dict[str, Any] = {"metrics": {"podMonitor": {"enabled": True, "labels": {"release": "x"}}}}
BY_SERVICE = {"metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "x"}}}}
ENDPOINTS = {"endpoints": {"podMonitorLabels": {"release": "x"}}}

NO_ALERT = "No alert fires, since prometheusRule.enabled is false"
EMPTY_PANELS = "panels of the dashboard that use its recording rules stay empty"
NOT_SCRAPED = "Nothing here lets Prometheus scrape the operator"
NO_LABELS = "the PodMonitors of endpoints do not, so it may not scrape them"
ALL = {NO_ALERT, EMPTY_PANELS, NOT_SCRAPED, NO_LABELS}

CASES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "defaults": ({}, {NO_ALERT}),
    "a dashboard alone": (DASHBOARD, {NO_ALERT, EMPTY_PANELS, NOT_SCRAPED}),
    "rules alone": (RULES, {NOT_SCRAPED}),
    "all": ({**RULES, **DASHBOARD, **SCRAPED}, set()),
    "labels of the operator's monitor": ({**RULES, **LABELED}, {NO_LABELS}),
    "labels of its ServiceMonitor": ({**RULES, **BY_SERVICE}, {NO_LABELS}),
    "labels of all monitors": ({**RULES, **LABELED, **ENDPOINTS}, set()),
}


@pytest.mark.parametrize(("values", "want"), CASES.values(), ids=CASES)
def test_the_notes_say_what_is_missing_of_monitoring(
    chart: Path, values: dict[str, Any], want: set[str]
) -> None:
    text = notes(chart, values)

    assert {one for one in ALL if one in text} == want
    assert "kubectl explain msd.spec" in text
