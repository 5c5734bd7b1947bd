"""Test modules share what is in tests/support, and import nothing from each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = {str(path.relative_to(TESTS)): path for path in sorted(TESTS.rglob("*.py"))}
TEST_MODULES = {path.stem for path in TESTS.rglob("test_*.py")} | {"conftest"}


def imports_of_tests(source: str) -> list[str]:
    """Return what a file imports from test modules, from a conftest, or relative to itself."""
    return [name for name in _imported(source) if _is_of_tests(name.split("."))]


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _is_of_tests(parts: list[str]) -> bool:
    is_relative = parts[0] == ""
    return is_relative or parts[0] == "tests" or not TEST_MODULES.isdisjoint(parts)


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("import builders", []),
        ("from click.testing import CliRunner", []),
        ("from bench.traces import test_ratio", []),
        ("from unit.test_imports import TESTS", ["unit.test_imports.TESTS"]),
        ("from unit import test_imports", ["unit.test_imports"]),
        ("def late():\n    import test_imports", ["test_imports"]),
        ("from engine.conftest import server_at", ["engine.conftest.server_at"]),
        ("from tests.support.builders import NAME", ["tests.support.builders.NAME"]),
        ("from .table import CASES", [".table.CASES"]),
    ],
)
def test_an_import_from_another_test_module_is_found(source: str, imported: list[str]) -> None:
    assert imports_of_tests(source) == imported


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_a_file_imports_from_no_test_module(file: Path) -> None:
    assert imports_of_tests(file.read_text()) == []
