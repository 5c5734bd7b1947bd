"""docs/monitoring.md says what the rules do. tests/unit/test_metrics_documented.py has metrics."""

import re
from typing import Any

import yaml

from chart_rendering import CHART
from mistral_dev.paths import CHECKOUT
from mistral_operator.kube import names
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


def runbook_of(alert: str) -> str:
    """Return the text below the heading of an alert, with single spaces."""
    _, _, rest = DOCUMENT.partition(f"\n### {alert}\n")
    return " ".join(re.split(r"^##", rest, maxsplit=1, flags=re.MULTILINE)[0].split())


def test_who_looks_for_a_foreign_slice_sees_who_manages_each_and_keeps_the_operators() -> None:
    runbook = runbook_of("MistralActivatorMisdirected")

    assert f"-L {names.LABEL_SLICE_MANAGER}" in runbook
    for kept in (
        names.MANAGED_BY,
        "endpointslice-controller.k8s.io",
        names.activator_slice("NAME", ipv6=False),
        names.activator_slice("NAME", ipv6=True),
    ):
        assert f"`{kept}`" in runbook


def commands_of_runbooks() -> list[str]:
    """Return the commands of all runbooks, each in one line."""
    _, _, rest = DOCUMENT.partition("\n## Alerts\n")
    text = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    inline = re.findall(r"`(kubectl [^`]+)`", text)
    blocks = re.findall(r"^ {4}\$ (kubectl (?:.*\\\n)*.*)$", text, re.MULTILINE)
    return [" ".join(command.replace("\\\n", " ").split()) for command in inline + blocks]


def test_every_command_of_a_runbook_names_the_namespace() -> None:
    commands = commands_of_runbooks()

    assert len(commands) > 10
    assert [one for one in commands if not re.search(r" --(namespace |all-namespaces)", one)] == []


def test_logs_in_a_runbook_are_those_of_every_replica_and_not_of_the_last_ten_lines() -> None:
    logs = [one for one in commands_of_runbooks() if one.startswith("kubectl logs")]

    assert logs
    for command in logs:
        assert re.search(
            r" -l app\.kubernetes\.io/name=mistral-small-operator(-activator)? ", command
        )
        assert " --prefix" in command
        assert " --tail" in command
