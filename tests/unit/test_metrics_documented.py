"""docs/monitoring.md has a row for each metric of the code, wherever the code defines it."""

import ast
import re
from collections.abc import Iterator

import pytest

from mistral_dev.paths import CHECKOUT

DOCUMENT = (CHECKOUT / "docs" / "monitoring.md").read_text()
SOURCES = [
    file
    for package in ("operator", "server")
    for file in sorted((CHECKOUT / package / "src").rglob("*.py"))
]

SUFFIXES = {
    "Counter": "_total",
    "CounterMetricFamily": "_total",
    "Enum": "",
    "Gauge": "",
    "GaugeHistogramMetricFamily": "",
    "GaugeMetricFamily": "",
    "Histogram": "",
    "HistogramMetricFamily": "",
    "Info": "_info",
    "InfoMetricFamily": "_info",
    "Metric": "",
    "StateSetMetricFamily": "",
    "Summary": "",
    "SummaryMetricFamily": "",
    "UnknownMetricFamily": "",
    "UntypedMetricFamily": "",
}
"""The classes of prometheus_client that make a metric, and what each appends to its name."""


def metrics(source: str) -> Iterator[tuple[str, list[str] | None]]:
    """Yield the exposed name of each metric that a module defines, and its labels if written out.

    Raises:
        AssertionError: the whole name is not written out in one text, as a search needs it.
    """
    tree = ast.parse(source)
    classes = dict(imported(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and class_name(node.func, classes) in SUFFIXES:
            keywords = {one.arg: one.value for one in node.keywords}
            name = text(node.args[0] if node.args else keywords.get("name"))
            if not name or {"namespace", "subsystem", "unit"} & keywords.keys():
                raise AssertionError(f"line {node.lineno}: write the metric's whole name as a text")
            suffix = SUFFIXES[class_name(node.func, classes)]
            yield name.removesuffix(suffix) + suffix, labels(node, keywords)


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield what a module imports of prometheus_client: its local name, and its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prometheus_client"):
            yield from ((one.asname or one.name, one.name) for one in node.names)
        if isinstance(node, ast.Import):
            yield from (
                (one.asname or one.name.partition(".")[0], "prometheus_client")
                for one in node.names
                if one.name.startswith("prometheus_client")
            )


def class_name(function: ast.expr, classes: dict[str, str]) -> str:
    """Return the name of the called class of prometheus_client; empty for any other function."""
    match function:
        case ast.Name(id=name):
            return classes.get(name, "")
        case ast.Attribute(value=module, attr=name) if root(module) in classes:
            return name
    return ""


def root(node: ast.expr) -> str:
    """Return the first name of a dotted one."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def labels(call: ast.Call, keywords: dict[str | None, ast.expr]) -> list[str] | None:
    """Return the labels of a metric; None if they are computed."""
    written = keywords.get("labelnames", keywords.get("labels"))
    if written is None and len(call.args) > 2:
        written = call.args[2]
    if written is None:
        return []
    if not isinstance(written, ast.List | ast.Tuple):
        return None
    return [text(one) for one in written.elts]


def text(node: ast.expr | None) -> str:
    """Return a text that is written out; empty for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def row(name: str, names: list[str] | None) -> str:
    """Return the pattern of the row of a metric."""
    if names is None or name.endswith("_info"):  # the labels of an Info are its values
        return rf"^\| `{name}` \|.*\| .+ \|$"
    cell = ", ".join(f"`{label}`" for label in names)
    return rf"^\| `{name}` \|{f' {cell}' if cell else ''} \| .+ \|$"


DEFINED = [
    (file.relative_to(CHECKOUT), name, names)
    for file in SOURCES
    for name, names in metrics(file.read_text())
]


@pytest.mark.parametrize(("file", "name", "names"), DEFINED, ids=[name for _, name, _ in DEFINED])
def test_a_metric_has_a_row_with_its_labels(file: object, name: str, names: list[str]) -> None:
    assert re.search(row(name, names), DOCUMENT, re.MULTILINE), (
        f"docs/monitoring.md has no row for `{name}` of {file}"
        + (f" with the labels {names}" if names else "")
    )


def test_a_row_has_its_metric() -> None:
    rows = re.findall(r"^\| `(mistral_\w+)` \|", DOCUMENT, re.MULTILINE)

    assert sorted(rows) == sorted(name for _, name, _ in DEFINED)


SPELLINGS = {
    "a metric of a module": (
        "from prometheus_client import Counter\nA = Counter('a', 'Help.', ['b'])",
        [("a_total", ["b"])],
    ),
    "a metric of an object": (
        "from prometheus_client import Info\nclass A:\n  def b(self):\n    self.c = Info('a', '')",
        [("a_info", [])],
    ),
    "a family": (
        "from prometheus_client.core import GaugeMetricFamily as G\nG('a', '', labels=['b'])",
        [("a", ["b"])],
    ),
    "an imported module": (
        "import prometheus_client.core as p\np.CounterMetricFamily(name='a_total', labels=all_())",
        [("a_total", None)],
    ),
    "another Counter": ("from collections import Counter\nCounter('abc')", []),
}


@pytest.mark.parametrize(("source", "want"), SPELLINGS.values(), ids=SPELLINGS)
def test_a_metric_is_recognized_in_each_spelling(source: str, want: list[object]) -> None:
    assert list(metrics(source)) == want


@pytest.mark.parametrize("arguments", ["f'{prefix}_a', ''", "'a', '', namespace='mistral'"])
def test_a_name_in_parts_is_an_error(arguments: str) -> None:
    with pytest.raises(AssertionError, match="line 2: write the metric's whole name as a text"):
        list(metrics(f"from prometheus_client import Gauge\nGauge({arguments})"))
