"""Every panel of the dashboard is in its picture, with all of its queries."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from mistral_dev.dashboard import dashboard
from mistral_dev.panels import theme
from mistral_dev.panels.board import Row, mark_expressions, rows
from mistral_dev.panels.pictures import figure_of, png
from mistral_dev.panels.prometheus import Answers, Span
from mistral_dev.panels.queries import drawn_row, legend, marks, substituted, variables
from mistral_dev.panels.timeseries import stretches_of
from mistral_dev.paths import CHECKOUT

DOCUMENT = json.loads(dashboard())
ROWS = rows(DOCUMENT)
MONITORING = CHECKOUT / "docs" / "monitoring.md"
MOST_BYTES = 150_000
"""Of a picture: the repository has each version of it."""
RECORDED = CHECKOUT / "tests" / "data" / "panels" / "is-it-up.json"
"""What Prometheus returned for each target of the first row, in their order."""
SPAN = Span(1_800_000_000, 1_800_000_600)
CHOSEN = {"namespace": "(team-a)", "name": "(small|large)"}
LABELS = {
    "namespace": "team-a",
    "name": "small",
    "pod": "small-1",
    "gpu": "0",
    "severity": "warning",
    "alertname": "MistralOutOfMemory",
}
"""Of every series; other labels have their own name as value."""


@dataclass
class FakePrometheus:
    """Returns one series for each expression, and remembers the expressions."""

    empty: tuple[str, ...] = ()
    """Parts of expressions without a result."""
    value: str = "1"
    requested: list[str] = field(default_factory=list)

    def __call__(self, path: str, parameters: Mapping[str, str]) -> Any:
        if path.startswith("label/"):
            return {"namespace": ["team-a"], "name": ["small", "large"]}[path.split("/")[1]]
        expression = parameters["query"]
        self.requested.append(expression)
        if any(part in expression for part in self.empty):
            return {"result": []}
        if path == "query":
            return {"result": [{"metric": LABELS, "value": [SPAN.end, self.value]}]}
        times = range(int(SPAN.start), int(SPAN.end) + 1, int(SPAN.step))
        return {"result": [{"metric": LABELS, "values": [[at, self.value] for at in times]}]}

    def answers(self) -> Answers:
        """Return what it answers in the span."""
        return Answers(self, SPAN)


def picture(row: Row, prometheus: FakePrometheus) -> Figure:
    """Return the picture of a row."""
    answers = prometheus.answers()
    return figure_of(drawn_row(row, answers, CHOSEN), SPAN, marks({}, answers, CHOSEN))


def texts(figure: Figure) -> set[str]:
    """Return all texts of a picture."""
    return {str(one.get_text()) for one in figure.findobj(Text)}


def ydata(line: Any) -> list[float]:
    """Return the values of a drawn line."""
    return [float(value) for value in line.get_ydata()]


def test_the_variables_are_all_endpoints_of_the_recording() -> None:
    assert variables(FakePrometheus().answers()) == CHOSEN


def test_a_variable_that_the_dashboard_does_not_have_is_an_error() -> None:
    with pytest.raises(KeyError, match="cluster"):
        substituted('up{cluster="$cluster"}', CHOSEN)


def test_a_legend_has_the_labels_of_its_series() -> None:
    assert legend("{{namespace}}/{{ name }} p95", LABELS) == "team-a/small p95"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_every_expression_of_every_panel_is_evaluated_and_its_series_is_named(row: Row) -> None:
    prometheus = FakePrometheus()

    shown = texts(picture(row, prometheus))

    targets = [target for panel in row.panels for target in panel.targets]
    assert prometheus.requested == [substituted(target.expression, CHOSEN) for target in targets]
    assert {panel.title for panel in row.panels} <= shown
    assert {legend(target.legend, LABELS) for target in targets} <= shown


def test_the_pictures_have_all_panels_and_targets_of_the_document() -> None:
    panels = [panel for panel in DOCUMENT["panels"] if panel["type"] != "row"]
    drawn = [panel for row in ROWS for panel in row.panels]

    assert [panel.title for panel in drawn] == [panel["title"] for panel in panels]
    assert [len(panel.targets) for panel in drawn] == [len(panel["targets"]) for panel in panels]


def test_a_panel_without_data_says_why_and_the_others_are_drawn() -> None:
    (row,) = (row for row in ROWS if row.title == "GPUs")
    drawn = drawn_row(row, FakePrometheus(empty=("DCGM_",)).answers(), CHOSEN)

    assert [panel.absence for panel in drawn.panels] == ["the DCGM exporter is not installed"] * 3
    assert "No data: the DCGM exporter is not installed" in texts(figure_of(drawn, SPAN, ()))


def test_a_panel_that_lacks_data_for_no_known_reason_is_told_apart() -> None:
    (row,) = (row for row in ROWS if row.title == "Latency")
    drawn = drawn_row(row, FakePrometheus(empty=("time_to_first_token",)).answers(), CHOSEN)

    assert [panel.absence for panel in drawn.panels] == ["", None, None]


def test_a_series_without_any_number_is_no_data() -> None:
    (row,) = (row for row in ROWS if row.title == "Latency")
    drawn = drawn_row(row, FakePrometheus(value="NaN").answers(), CHOSEN)

    assert [panel.absence for panel in drawn.panels] == ["", "", ""]


def test_a_recorded_result_is_drawn_as_states_alerts_and_steps() -> None:
    """The recording has two endpoints that cannot answer, and one that is scaled to zero."""
    recorded = json.loads(RECORDED.read_text())
    results = iter(recorded["results"])
    span = Span(**recorded["span"])
    answers = Answers(lambda _path, _parameters: {"result": next(results)}, span)

    drawn = drawn_row(ROWS[0], answers, CHOSEN)
    figure = figure_of(drawn, span, ())

    shown = texts(figure)
    assert {"demo/tiny", "demo/on-demand", "demo/limited"} <= shown
    assert {"down", "scaled to zero", "warning: MistralOutOfMemory"} <= shown
    assert "up" not in shown
    (ready,) = (line for line in drawn.panels[2].lines if line.name == "demo/tiny ready")
    values = [value for _, value in ready.points]
    (step,) = (line for line in figure.findobj(Line2D) if ydata(line) == values)
    assert step.get_drawstyle() == "steps-post"
    assert set(values) == {0, 1}


def test_times_that_follow_each_other_are_one_mark() -> None:
    assert stretches_of((10, 20, 30, 60, 90, 100), step=10) == [(10, 30), (60, 60), (90, 100)]


def test_marks_are_the_times_at_which_an_annotation_has_a_value() -> None:
    prometheus = FakePrometheus(empty=("Progressing",))

    by_name = {
        mark.name: mark for mark in marks(mark_expressions(DOCUMENT), prometheus.answers(), CHOSEN)
    }

    assert by_name["Rollouts and starts"].times == ()
    assert by_name["Restarts"].times[0] == SPAN.start
    assert by_name["Restarts"].color == "red"


def test_a_picture_is_a_small_png_of_the_width_of_a_document() -> None:
    content = png(picture(ROWS[0], FakePrometheus()))

    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG"
    assert image.width == theme.WIDTH
    assert len(content) < MOST_BYTES


@pytest.mark.parametrize(
    ("value", "color"), [("2", "orange"), ("3", "green"), ("1", "blue"), ("0", "red")]
)
def test_a_small_picture_still_has_the_color_of_a_state(value: str, color: str) -> None:
    (row,) = (row for row in ROWS if row.title == "Rollouts and operator")
    content = png(picture(row, FakePrometheus(value=value)))

    pixels = Image.open(io.BytesIO(content)).convert("RGB").getcolors(1 << 24)
    assert pixels is not None
    desired = theme.NAMED[color]
    parts = [int(desired[at : at + 2], 16) for at in (1, 3, 5)]

    def distance(pixel: Any) -> int:
        return sum(abs(one - other) for one, other in zip(pixel, parts, strict=True))

    assert max(count for count, pixel in pixels if distance(pixel) < 30) > 10_000


def test_the_document_shows_the_picture_of_every_row_and_no_picture_is_left_over() -> None:
    shown = re.findall(r"\]\(images/(dashboard-[\w-]+\.png)\)", MONITORING.read_text())
    images = sorted((MONITORING.parent / "images").glob("dashboard-*.png"))

    assert shown == [row.file_name for row in ROWS]
    assert [image.name for image in images] == sorted(shown)
    assert all(image.stat().st_size < MOST_BYTES for image in images)


def test_no_two_rows_have_the_same_picture() -> None:
    assert len({row.file_name for row in ROWS}) == len(ROWS) == 10
