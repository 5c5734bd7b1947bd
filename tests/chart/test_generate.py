"""Generated files are fresh, and what generates them does what it says."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from chart_rendering import CHART, of_kind, render
from mistral_dev.cli import main
from mistral_dev.errors import UsageError
from mistral_dev.generate import (
    CHART as CHART_IN_CHECKOUT,
)
from mistral_dev.generate import (
    StaleFilesError,
    chart_crd,
    check,
    generated,
    stale,
    with_table,
    write,
)
from mistral_dev.paths import CHECKOUT
from mistral_dev.reference import reference
from mistral_operator.api.crd import custom_resource_definition


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the sources of generated files, and no generated file but the README."""
    chart = tmp_path / CHART_IN_CHECKOUT
    chart.mkdir(parents=True)
    for name in ("values.yaml", "README.md"):
        shutil.copy(CHART / name, chart / name)
    return tmp_path


def test_every_generated_file_is_fresh() -> None:
    assert sorted(map(str, stale(CHECKOUT))) == [], "run `make generate`"


def test_generating_writes_what_checking_wants(checkout: Path) -> None:
    messages: list[str] = []
    with pytest.raises(StaleFilesError, match=r"docs/reference\.md"):
        check(checkout)

    write(checkout, messages.append)
    check(checkout)

    assert len(messages) == len(generated(checkout)) - 1, "the README was fresh"


def test_generating_twice_writes_nothing_the_second_time(checkout: Path) -> None:
    messages: list[str] = []
    write(checkout, messages.append)
    messages.clear()
    write(checkout, messages.append)

    assert messages == []


def test_a_file_that_was_edited_by_hand_is_named(checkout: Path) -> None:
    write(checkout, lambda _: None)
    (checkout / "docs/reference.md").write_text("by hand")

    with pytest.raises(StaleFilesError, match=r"generated now: docs/reference\.md\. Run `make"):
        check(checkout)


def test_the_command_line_checks_this_checkout() -> None:
    result = CliRunner().invoke(main, ["generate", "--check"])

    assert (result.exit_code, result.output) == (0, "")


def test_a_readme_without_its_markers_is_an_error() -> None:
    with pytest.raises(UsageError, match="needs the lines"):
        with_table("# A chart\n", "| table |\n")


def test_braces_in_the_crd_reach_the_cluster_as_they_are(tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    definition = custom_resource_definition()
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["description"] = 'Write {{ "{{" }} and {{- .Values.image }} and {{{ braces }}}.'
    (file,) = (chart / "templates" / "crds").iterdir()
    file.write_text(chart_crd(definition))

    (crd,) = of_kind(render({"crds": {"keep": False}}, chart), "CustomResourceDefinition")

    assert crd == definition


def test_the_reference_has_a_row_for_every_field() -> None:
    definition = custom_resource_definition()
    text = reference(definition)
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for kind in ("spec", "status"):
        for name in schema["properties"][kind]["properties"]:
            assert f"| `{name}` | " in text


def test_every_link_of_the_reference_leads_to_a_section() -> None:
    text = reference(custom_resource_definition())
    targets = {part.partition(")")[0] for part in text.split("](#")[1:]}
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    anchors = {"".join(one for one in heading if one.isalnum()).lower() for heading in headings}

    assert targets
    assert targets <= anchors


def test_every_row_of_the_reference_has_as_many_cells_as_its_table() -> None:
    width = 0
    for line in reference(custom_resource_definition()).splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        cells = line.replace("\\|", "").count("|")
        width = width or cells
        assert cells == width, line
