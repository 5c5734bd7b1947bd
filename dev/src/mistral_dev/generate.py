"""Write the files that follow from others, or check that they are fresh: `generate [--check]`.

| written | from |
|---|---|
| crds/, the chart's templates/crds/, docs/reference.md | the models in mistral_operator.api |
| the chart's values.schema.json and the table in its README.md | values.yaml, chart_values.py |
| the chart's dashboards/ | dashboard.py |
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mistral_dev.chart_values import values_schema, values_table
from mistral_dev.dashboard import dashboard
from mistral_dev.errors import DevError, UsageError
from mistral_dev.paths import CHECKOUT
from mistral_dev.reference import reference
from mistral_operator.api.crd import custom_resource_definition, to_yaml

CHART = Path("charts/mistral-small-operator")

_BEGIN = "<!-- values: made by `make generate` from values.yaml -->\n"
_END = "<!-- end of values -->\n"

_KEPT_CRD = """\
{{- /* Made by `make generate`. Helm never upgrades what lies in a chart's own crds/ folder. */ -}}
{{- if .Values.crds.enabled }}
"""
_KEEP_ANNOTATION = """\
  {{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
"""


class StaleFilesError(DevError):
    """Generated files differ from what would be generated now."""


def generated(checkout: Path) -> dict[Path, str]:
    """Return the text of every generated file, by its path within the checkout.

    Raises:
        UsageError: a source lacks something, such as the comment of a value.
    """
    definition = custom_resource_definition()
    values = (checkout / CHART / "values.yaml").read_text()
    readme = (checkout / CHART / "README.md").read_text()
    file = f"{definition['metadata']['name']}.yaml"
    return {
        Path("crds") / file: to_yaml(definition),
        CHART / "templates" / "crds" / file: chart_crd(definition),
        CHART / "values.schema.json": values_schema(values),
        CHART / "README.md": with_table(readme, values_table(values)),
        CHART / "dashboards" / "mistral-small.json": dashboard(),
        Path("docs/reference.md"): reference(definition),
    }


def chart_crd(definition: dict[str, Any]) -> str:
    """Return the CRD as a template of the chart."""
    text = to_yaml(definition).replace("{{", '{{ "{{" }}')
    head, metadata, rest = text.partition("metadata:\n")
    return f"{_KEPT_CRD}{head}{metadata}{_KEEP_ANNOTATION}{rest}{{{{- end }}}}\n"


def with_table(readme: str, table: str) -> str:
    """Return a README with the table between its two markers replaced.

    Raises:
        UsageError: the markers are not there.
    """
    before, begin, rest = readme.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise UsageError(f"README.md of the chart needs the lines {_BEGIN.strip()} and {_END}")
    return f"{before}{begin}\n{table}\n{end}{after}"


def stale(checkout: Path) -> dict[Path, str]:
    """Return what `generated` does, without the files that hold that text already."""
    return {
        path: text
        for path, text in generated(checkout).items()
        if not (checkout / path).exists() or (checkout / path).read_text() != text
    }


def write(checkout: Path, say: Callable[[str], None]) -> None:
    """Write the files that are stale, and say which."""
    for path, text in stale(checkout).items():
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout / path).write_text(text)
        say(f"wrote {path}")


def check(checkout: Path) -> None:
    """Do nothing if every file is fresh.

    Raises:
        StaleFilesError: some are not; the message names them.
    """
    found = stale(checkout)
    if found:
        raise StaleFilesError(
            f"Not what is generated now: {', '.join(map(str, found))}."
            " Run `make generate` and commit the result; do not edit these by hand."
        )


@click.command()
@click.option("--check", "only_check", is_flag=True, help="Write nothing; fail if a file is stale.")
def generate(*, only_check: bool) -> None:
    """Write what follows from others: CRD, the chart's schema, table and dashboard, reference."""
    if only_check:
        check(CHECKOUT)
    else:
        write(CHECKOUT, click.echo)
