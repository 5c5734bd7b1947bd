"""docs/monitoring.md says what the rules do. tests/unit/test_metrics_documented.py has metrics."""

import re
from typing import Any

import yaml

from chart_rendering import CHART
from mistral_dev.paths import CHECKOUT
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
