"""docs/monitoring.md says what the code and the rules do."""

import re
from collections.abc import Iterator
from typing import Any

import yaml
from prometheus_client.metrics import MetricWrapperBase

from chart_rendering import CHART
from mistral_dev.paths import CHECKOUT
from mistral_operator import metrics as operator_metrics
from mistral_operator.activator import metrics as activator_metrics
from mistral_server.gate import metrics as gate_metrics
from mistral_server.gate.metrics import FINISH_REASONS
from mistral_server.gate.tool_calls import ToolCallOutcome

DOCUMENT = (CHECKOUT / "docs" / "monitoring.md").read_text()
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((CHART / "rules" / "mistral.yaml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = [rule["alert"] for rule in RULES if "alert" in rule]
"""In the order of the file."""


def rows() -> Iterator[str]:
    """Yield the beginning of each row that the tables of metrics need."""
    for module in (gate_metrics, operator_metrics, activator_metrics):
        for metric in vars(module).values():
            if isinstance(metric, MetricWrapperBase):
                (described,) = metric.describe()
                suffix = "_total" if described.type == "counter" else ""
                labels = ", ".join(f"`{label}`" for label in metric._labelnames)
                yield f"\n| `{described.name}{suffix}` |{f' {labels}' if labels else ''} | "


def test_every_metric_has_a_row_with_its_labels() -> None:
    want = list(rows())

    assert len(want) > 15
    assert [row for row in want if row not in DOCUMENT] == []


def test_every_record_is_named() -> None:
    records = {rule["record"] for rule in RULES if "record" in rule}

    assert {record for record in records if f"`{record}`" not in DOCUMENT} == set()
    assert set(re.findall(r"`(mistral:[\w:]+)`", DOCUMENT)) == records


def test_the_headings_of_the_alerts_are_the_alerts() -> None:
    assert re.findall(r"^### (\w+)$", DOCUMENT, re.MULTILINE) == ALERTS


def test_outcomes_that_are_no_errors_are_those_of_the_rules() -> None:
    (excluded,) = {
        outcomes for rule in RULES for outcomes in re.findall(r'outcome!~"([^"]+)"', rule["expr"])
    }

    assert set(excluded.split("|")) == {
        ToolCallOutcome.OK,
        ToolCallOutcome.INVALID_ID,
        ToolCallOutcome.SCHEMA_UNUSABLE,
        ToolCallOutcome.TOO_COMPLEX,
    }
    assert {"repetition", "abort"} <= set(FINISH_REASONS)
