"""The dashboard: Grafana can lay it out, and the chart ships it as it is."""

import json
import re
from itertools import combinations
from typing import Any

import pytest

from chart_rendering import CHART, of_kind, render
from mistral_dev.dashboard import dashboard
from mistral_dev.dashboard_panels import ANNOTATIONS, SECTIONS
from mistral_server.gate.metrics import RESPONSE_STATUSES

DOCUMENT: dict[str, Any] = json.loads(dashboard())
PANELS: list[dict[str, Any]] = [one for one in DOCUMENT["panels"] if one["type"] != "row"]


def test_the_config_map_holds_the_dashboard_with_the_label_of_grafanas_sidecar() -> None:
    values = {"dashboard": {"enabled": True, "annotations": {"grafana_folder": "LLM"}}}
    (config_map,) = of_kind(render(values), "ConfigMap")

    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert config_map["metadata"]["annotations"] == {"grafana_folder": "LLM"}
    assert config_map["data"] == {"mistral-small.json": dashboard().rstrip("\n")}
    assert json.loads(config_map["data"]["mistral-small.json"]) == DOCUMENT


def test_the_chart_has_the_dashboard_that_the_table_of_panels_makes() -> None:
    assert (CHART / "dashboards" / "mistral-small.json").read_text() == dashboard()


def test_no_two_panels_overlap_and_none_leaves_the_grid() -> None:
    def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
        cell = panel["gridPos"]
        return {
            (x, y)
            for x in range(cell["x"], cell["x"] + cell["w"])
            for y in range(cell["y"], cell["y"] + cell["h"])
        }

    for one, other in combinations(DOCUMENT["panels"], 2):
        assert not cells(one) & cells(other), (one["title"], other["title"])
    assert all(x < 24 for panel in DOCUMENT["panels"] for x, _ in cells(panel))


def test_panels_fill_the_width_of_the_grid() -> None:
    lines: dict[int, int] = {}
    for panel in DOCUMENT["panels"]:
        cell = panel["gridPos"]
        lines[cell["y"]] = lines.get(cell["y"], 0) + cell["w"]

    assert set(lines.values()) == {24}


def test_numbers_and_letters_of_panels_and_queries_are_unique() -> None:
    numbers = [panel["id"] for panel in DOCUMENT["panels"]]

    assert len(set(numbers)) == len(numbers)
    for panel in PANELS:
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows_and_asks_the_chosen_data_source(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["datasource"]["uid"] == "${datasource}"
    assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
    assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])


def test_no_rate_stands_without_its_count_and_its_interval_beside_it() -> None:
    for section, count, window in (
        ("Errors", "responses", "15m"),
        ("Loops", "generations", "1h"),
        ("Tool calls", "tool_calls", "1h"),
    ):
        rate, counted, *_ = SECTIONS[section]
        shown = " ".join(rate.expressions().values())

        assert f"ratio{window}" in shown
        assert f"wilson_lower{window}" in shown
        assert f"wilson_upper{window}" in shown
        assert f"mistral:{count}:increase{window}" in " ".join(counted.expressions().values())


def test_the_first_thing_that_it_says_is_whether_endpoints_are_up() -> None:
    assert list(SECTIONS)[:4] == ["Is it up", "Load", "Latency", "Errors"]
    assert [panel["title"] for panel in DOCUMENT["panels"][1:3]] == ["Endpoints", "Firing alerts"]


def test_rollouts_and_restarts_are_marked_in_every_panel() -> None:
    marks = {mark["name"]: mark for mark in DOCUMENT["annotations"]["list"]}

    assert set(marks) == set(ANNOTATIONS) == {"Rollouts and starts", "Restarts"}
    assert all(mark["enable"] and mark["expr"] for mark in marks.values())


def colors(title: str) -> dict[str, str]:
    """Return the fixed colors of a panel's series by what matches their names."""
    (panel,) = (one for one in PANELS if one["title"] == title)
    return {
        override["matcher"]["options"]: one["value"]["fixedColor"]
        for override in panel["fieldConfig"]["overrides"]
        for one in override["properties"]
        if one["id"] == "color"
    }


def test_a_firing_alert_is_never_green() -> None:
    severities = colors("Firing alerts")

    assert severities == {"/^critical:/": "red", "/^warning:/": "orange", "/^info:/": "blue"}


def test_responses_have_the_color_of_their_status() -> None:
    statuses = colors("Responses by status")

    def color(status: str) -> str:
        (one,) = (one for names, one in statuses.items() if re.search(names.strip("/"), status))
        return one

    assert [one for one in RESPONSE_STATUSES if color(one) == "green"] == ["2xx"]
    assert color("5xx") == "red"


def test_only_conditions_that_report_something_are_shown_and_none_of_them_in_green() -> None:
    (panel,) = (one for one in PANELS if one["title"] == "States and conditions")
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    state, *conditions = (target["expr"] for target in panel["targets"])

    assert state == PANELS[0]["targets"][0]["expr"]
    shown = " ".join(conditions)
    assert not re.search(r"\b(Ready|Available)\b", shown)
    assert [mapping["options"][value]["color"] for value in ("4", "5")] == ["yellow", "orange"]


def test_whole_numbers_are_steps_and_rates_are_not() -> None:
    steps = {
        panel["title"]
        for panel in PANELS
        if panel["fieldConfig"]["defaults"].get("custom") == {"lineInterpolation": "stepAfter"}
    }

    assert {"Replicas", "Queue", "Restarts, last hour"} <= steps
    assert all(
        panel["fieldConfig"]["defaults"]["unit"] == "short"
        for panel in PANELS
        if panel["title"] in steps
    )


def test_the_model_cards_rates_are_dashed_lines_for_reference() -> None:
    (panel,) = (one for one in PANELS if one["title"] == "Loop rate, last hour")
    dashed = {
        one["matcher"]["options"]
        for one in panel["fieldConfig"]["overrides"]
        if one["matcher"]["id"] == "byName"
    }
    drawn = {
        target["legendFormat"]: target["expr"]
        for target in panel["targets"]
        if target["legendFormat"] in dashed
    }

    assert drawn == {"model card, 3.1": "vector(0.0211)", "model card, 3.2": "vector(0.0129)"}
