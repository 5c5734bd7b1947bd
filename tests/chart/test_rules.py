"""The rules file: promtool checks and tests it, and the chart makes a PrometheusRule of it."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_rendering import CHART, HelmRefused, of_kind, render
from mistral_dev import tools
from mistral_dev.commands import run
from mistral_dev.errors import CommandFailedError
from mistral_dev.paths import CHECKOUT

RULES = CHART / "rules" / "mistral.yaml"
CASES = Path(__file__).with_name("rules")

CONTENT: dict[str, Any] = yaml.safe_load(RULES.read_text())
ALERTS = {
    rule["alert"]: rule for group in CONTENT["groups"] for rule in group["rules"] if "alert" in rule
}


def promtool(*arguments: str | Path) -> str:
    """Run promtool and return what it printed."""
    return run([tools.ensure(["promtool"])["promtool"], *arguments])


def rendered(values: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the PrometheusRule of the chart."""
    (rule,) = of_kind(
        render({"prometheusRule": {"enabled": True, **(values or {})}}), "PrometheusRule"
    )
    return rule


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


@pytest.mark.parametrize("cases", sorted(CASES.glob("*.yaml")), ids=lambda cases: cases.stem)
def test_the_rules_do_what_their_cases_say(cases: Path) -> None:
    promtool("test", "rules", cases)


def test_a_rule_that_does_something_else_fails_its_cases(tmp_path: Path) -> None:
    document = yaml.safe_load((CASES / "alerts.yaml").read_text())
    looping = [case for case in document["tests"] if "Requests loop" in case["name"]]
    cases = {**document, "rule_files": ["rules.yaml"], "tests": looping}
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(cases))
    (tmp_path / "rules.yaml").write_text(RULES.read_text().replace('state="looping"', 'state="x"'))

    with pytest.raises(CommandFailedError, match="MistralRequestsLooping"):
        promtool("test", "rules", tmp_path / "cases.yaml")


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    seen = defaultdict(set)
    for case in yaml.safe_load((CASES / "alerts.yaml").read_text())["tests"]:
        for alert in case["alert_rule_test"]:
            seen[alert["alertname"]].add(bool(alert["exp_alerts"]))

    assert seen == {name: {True, False} for name in ALERTS}


def test_every_alert_has_a_case_in_which_it_is_over_in_the_end() -> None:
    cases = yaml.safe_load((CASES / "resolved.yaml").read_text())["tests"]

    assert [case["name"] for case in cases] == list(ALERTS)
    for case in cases:
        firing, over = case["promql_expr_test"]
        assert f'alertname="{case["name"]}"' in firing["expr"]
        assert (firing["expr"], over["exp_samples"]) == (over["expr"], [])


def test_what_pages_is_an_outage_or_hides_one() -> None:
    severities = defaultdict(set)
    for name, rule in ALERTS.items():
        severities[rule["labels"]["severity"]].add(name)

    assert set(severities) == {"critical", "warning", "info"}
    assert severities["critical"] == {
        "MistralEndpointDown",
        "MistralErrorRateHigh",
        "MistralOperatorWithoutLeader",
    }


def test_an_alert_on_a_rate_needs_its_lower_end_and_a_count() -> None:
    on_rates = {name for name, rule in ALERTS.items() if "Rate" in name}

    assert on_rates == {"MistralErrorRateHigh", "MistralLoopRateHigh", "MistralToolErrorRateHigh"}
    for name in on_rates:
        expression = ALERTS[name]["expr"]
        assert re.search(
            r"wilson_lower(15m|1h) > .*\nand .*:increase\1 >= .*:alert_minimum", expression
        )
    for rule in ALERTS.values():
        assert ":ratio" not in rule["expr"]
        assert "rate(" not in rule["expr"]


def test_every_number_that_a_value_replaces_has_its_default_in_the_file() -> None:
    spec = rendered()["spec"]
    for group in spec["groups"]:
        for rule in group["rules"]:
            rule.get("annotations", {}).pop("runbook_url", None)

    assert spec == CONTENT


@pytest.mark.parametrize(
    ("values", "record", "expression"),
    [
        ({"loops": {"above": 0.5}}, "mistral:generation_loops:alert_above", "vector(0.5)"),
        ({"loops": {"minimum": 1000000}}, "mistral:generations:alert_minimum", "vector(1e+06)"),
        ({"toolErrors": {"above": 0}}, "mistral:tool_call_errors:alert_above", "vector(0)"),
        ({"toolErrors": {"minimum": 7}}, "mistral:tool_calls:alert_minimum", "vector(7)"),
        ({"looping": {"above": 0.3}}, "mistral:requests_looping:alert_above", "vector(0.3)"),
        ({"errors": {"above": 0.2}}, "mistral:response_errors:alert_above", "vector(0.2)"),
        ({"errors": {"minimum": 7}}, "mistral:responses:alert_minimum", "vector(7)"),
        (
            {"firstToken": {"aboveSeconds": 2.5}},
            "mistral:first_token_seconds:alert_above",
            "vector(2.5)",
        ),
        ({"firstToken": {"minimum": 7}}, "mistral:first_tokens:alert_minimum", "vector(7)"),
        ({"waiting": {"above": 3}}, "mistral:requests_waiting:alert_above", "vector(3)"),
        ({"kvCache": {"above": 0.8}}, "mistral:kv_cache:alert_above", "vector(0.8)"),
    ],
)
def test_a_value_replaces_what_an_alert_compares_with(
    tmp_path: Path, values: dict[str, Any], record: str, expression: str
) -> None:
    spec = rendered(values)["spec"]
    rules = {rule.get("record"): rule for group in spec["groups"] for rule in group["rules"]}

    assert rules[record]["expr"] == expression
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec))
    promtool("check", "rules", tmp_path / "rules.yaml")


def test_the_labels_select_the_rule() -> None:
    rule = rendered({"labels": {"release": "prometheus"}})

    assert rule["metadata"]["labels"]["release"] == "prometheus"


def runbooks(values: dict[str, Any]) -> dict[str, str | None]:
    """Return the annotation runbook_url of each alert."""
    return {
        rule["alert"]: rule["annotations"].get("runbook_url")
        for group in rendered(values)["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }


def test_alerts_link_to_their_heading_in_the_runbook() -> None:
    links = runbooks({"runbook": "https://example.com/doc"})

    assert links == {name: f"https://example.com/doc#{name.lower()}" for name in ALERTS}


def test_alerts_link_to_this_version_of_a_document_that_has_their_heading() -> None:
    repository = "https://github.com/mistral-small-operator/mistral-small-operator"
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    links = runbooks({})

    assert set(links) == set(ALERTS)
    for link in links.values():
        match = re.fullmatch(rf"{repository}/blob/([^/]+)/(.+)#(\w+)", link or "")
        assert match is not None
        tag, path, heading = match.groups()
        headings = re.findall(r"^#+ (.+)$", (CHECKOUT / path).read_text(), re.MULTILINE)
        assert tag == f"v{version}"
        assert heading in {one.lower().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("runbook", ["docs/monitoring.md", "example.com/doc", "https://a b"])
def test_a_runbook_that_is_no_url_is_rejected(runbook: str) -> None:
    with pytest.raises(HelmRefused, match=r"/prometheusRule/runbook.*pattern"):
        rendered({"runbook": runbook})


def test_every_alert_says_what_happened_and_what_to_do() -> None:
    for rule in ALERTS.values():
        annotations = rule["annotations"]
        assert set(annotations) == {"summary", "description"}
        assert annotations["summary"].endswith(".")
        assert annotations["description"].endswith(".")
        assert set(rule["labels"]) == {"severity"}
