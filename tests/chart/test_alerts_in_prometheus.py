"""Every alert fires in a real Prometheus while something is wrong, and is over when that is.

The series are those that promtool reads, in rules/resolved.yaml. Prometheus scrapes them while time
passes 120 times as fast, so that three hours take 90 seconds.
"""

import re
from pathlib import Path

import pytest
import yaml

from chart_rendering import of_kind, render
from mistral_dev.commands import wait_until
from played_series import MINUTE_SECONDS, Player, samples, scaled_rules
from prometheus_server import Prometheus, Target

pytestmark = pytest.mark.process

CASES = yaml.safe_load((Path(__file__).with_name("rules") / "resolved.yaml").read_text())["tests"]
WRONG_UNTIL = 120
"""The minute in which all is wrong that ever is; from then on it gets better."""
OVER_AT = 190
"""The minute in which every alert is over."""
END = 240
ALERTS = {(case["name"], case["name"].lower()) for case in CASES}
"""Each alert with the namespace in which it has to fire."""


def series() -> dict[str, str]:
    """Return the series of all cases, of each case in a namespace of its own."""
    return {
        re.sub(r'namespace="[^"]+"', f'namespace="{case["name"].lower()}"', one["series"]): one[
            "values"
        ]
        for case in CASES
        for one in case["input_series"]
    }


def firing(prometheus: Prometheus) -> set[tuple[str, str]]:
    """Return the alerts that fire in the namespace of their case."""
    labels = [one["labels"] for one in prometheus.alerts() if one["state"] == "firing"]
    return {(one["alertname"], one.get("namespace", "")) for one in labels} & ALERTS


def test_every_alert_fires_and_is_over_in_a_real_prometheus(tmp_path: Path) -> None:
    (rule,) = of_kind(render({"prometheusRule": {"enabled": True}}), "PrometheusRule")
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump(scaled_rules(rule["spec"])))
    player = Player(series())
    target = Target(player.exposition, labels={}, honor_labels=True)
    fired: set[tuple[str, str]] = set()

    def all_fired() -> bool:
        fired.update(firing(prometheus))
        assert player.minute < WRONG_UNTIL, f"did not fire: {ALERTS - fired}"
        return fired == ALERTS

    def all_over() -> bool:
        alerts = firing(prometheus)
        assert player.minute < END, f"still fire: {alerts}"
        # A scrape that failed would end them, too.
        return player.minute >= OVER_AT and bool(prometheus.query("up == 1")) and not alerts

    with Prometheus(tmp_path, {"played": target}, rules, MINUTE_SECONDS) as prometheus:
        player.skip_to(0)
        wait_until(all_fired, "every alert to fire", WRONG_UNTIL * MINUTE_SECONDS)
        player.skip_to(WRONG_UNTIL)
        wait_until(all_over, "every alert to be over", (END - WRONG_UNTIL) * MINUTE_SECONDS)


@pytest.mark.parametrize(
    ("values", "played"),
    [
        ("7", [7]),
        ("1x2 _x2 5", [1, 1, 1, None, None, 5]),
        ("0+9x2 18-9x1 _ 3", [0, 9, 18, 18, 9, None, 3]),
        ("1 stale 0.5x1", [1, None, 0.5, 0.5]),
    ],
)
def test_series_are_read_as_promtool_reads_them(values: str, played: list[float | None]) -> None:
    assert list(samples(values)) == played


def test_all_durations_of_a_rule_are_scaled_alike() -> None:
    rule = {"expr": "count_over_time(x[30m:1m]) >= 24 and increase(x_1h[1d]) > 5", "for": "10m"}
    (scaled,) = scaled_rules({"groups": [{"rules": [rule]}]})["groups"][0]["rules"]

    assert scaled == {
        "expr": "count_over_time(x[15000ms:500ms]) >= 24 and increase(x_1h[720000ms]) > 5",
        "for": "5000ms",
    }


def test_what_is_wrong_is_wrong_in_the_minutes_that_are_played_first() -> None:
    """All cases have as many minutes, and what promtool expects is within the same two parts."""
    for case in CASES:
        wrong, over = (one["eval_time"] for one in case["promql_expr_test"])
        assert minutes(wrong) <= WRONG_UNTIL < minutes(over) <= OVER_AT
        for one in case["input_series"]:
            assert len(list(samples(one["values"]))) > WRONG_UNTIL


def minutes(duration: str) -> int:
    """Return the minutes of a duration such as 3h10m."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?", duration)
    assert match is not None
    return 60 * int(match[1] or 0) + int(match[2] or 0)
