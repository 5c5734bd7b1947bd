"""Values in pictures of the dashboard are written as Grafana writes them."""

import math

import pytest

from mistral_dev.dashboard_panels import SECTIONS
from mistral_dev.panels.units import text


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0, "short", "0"),
        (12, "short", "12"),
        (1234, "short", "1.23 K"),
        (2_500_000, "short", "2.5 Mil"),
        (0.25, "reqps", "0.25 req/s"),
        (12.5, "ops", "12.5 ops/s"),
        (0.0211, "percentunit", "2.11%"),
        (1, "percentunit", "100%"),
        (37, "percent", "37%"),
        (0, "s", "0 s"),
        (0.0004, "s", "400 µs"),
        (0.25, "s", "250 ms"),
        (1.5, "s", "1.5 s"),
        (90, "s", "1.5 mins"),
        (7200, "s", "2 hours"),
        (70_000, "decmbytes", "70 GB"),
        (71, "celsius", "71 °C"),
        (math.nan, "s", "-"),
    ],
)
def test_a_value_has_its_unit(value: float, unit: str, expected: str) -> None:
    assert text(value, unit) == expected


def test_every_unit_of_the_dashboard_has_a_format() -> None:
    units = {panel.unit for panels in SECTIONS.values() for panel in panels}

    assert all(text(1, unit) for unit in units)


def test_an_unknown_unit_is_an_error_and_not_a_bare_number() -> None:
    with pytest.raises(ValueError, match="furlongs"):
        text(1, "furlongs")
