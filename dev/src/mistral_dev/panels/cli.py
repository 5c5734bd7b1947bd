"""The commands `panels ...`; hung into the command line by `mistral_dev.cli`."""

from __future__ import annotations

import json
import signal

import click

from mistral_dev.errors import DevError, UsageError
from mistral_dev.installation import CHART
from mistral_dev.panels import pictures, recording
from mistral_dev.panels.board import mark_expressions, rows
from mistral_dev.panels.prometheus import Span, reader
from mistral_dev.panels.queries import DrawnRow, drawn_row, marks, variables
from mistral_dev.paths import CHECKOUT
from mistral_dev.progress import Progress

DASHBOARD = CHART / "dashboards" / "mistral-small.json"
IMAGES = CHECKOUT / "docs" / "images"


@click.group()
def panels() -> None:
    """Pictures of the dashboard, for docs/monitoring.md."""


@panels.command("record")
def record_panels() -> None:
    """Record metrics of a local cluster (12 minutes)."""
    # What ends this process also ends the cluster, whatever a shell has it ignore.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    span = recording.record(Progress())
    click.echo(f"Recorded {span.end - span.start:.0f} s. Next: python -m mistral_dev panels draw")


@panels.command("draw")
def draw_panels() -> None:
    """Draw what was recorded into docs/images."""
    span = recording.recorded()
    if span is None:
        raise UsageError("Nothing is recorded: run `python -m mistral_dev panels record` first.")
    unexplained = _draw(span)
    if unexplained:
        raise DevError(f"No data, and no reason in panels/queries.py: {', '.join(unexplained)}.")


def _draw(span: Span) -> list[str]:
    """Write a picture for each row, and return the panels that lack data for no known reason."""
    document = json.loads(DASHBOARD.read_text())
    IMAGES.mkdir(exist_ok=True)
    unexplained: list[str] = []
    with reader(recording.folder(), span) as answers:
        chosen = variables(answers)
        marked = marks(mark_expressions(document), answers, chosen)
        for row in rows(document):
            drawn = drawn_row(row, answers, chosen)
            content = pictures.png(pictures.figure_of(drawn, span, marked))
            (IMAGES / row.file_name).write_bytes(content)
            click.echo(f"{row.file_name:<42} {len(content) / 1000:4.0f} kB")
            unexplained += _absences(drawn)
    return unexplained


def _absences(row: DrawnRow) -> list[str]:
    """Print each panel without data with the reason, and return those that have none."""
    for panel in row.panels:
        if panel.absence is not None:
            click.echo(f"  {panel.panel.title}: no data: {panel.absence or 'no reason is known'}")
    return [panel.panel.title for panel in row.panels if panel.absence == ""]
