"""CONTRIBUTING.md sends its readers to files that define what they look for."""

import ast
import re
from pathlib import Path

import pytest

from mistral_dev.paths import CHECKOUT

DOCUMENT = (CHECKOUT / "CONTRIBUTING.md").read_text()
ANSWERS = re.findall(r"^\| .+\? \| `([^`]+)` \| `(\w+)` \|$", DOCUMENT, re.MULTILINE)
PLACES = re.findall(r"^\| .+ \| `([^`]+)` \| `(\w+)` \|$", DOCUMENT, re.MULTILINE)
"""The answers, and the files of each kind of change."""
TERMS = re.findall(r"^\| ([a-z, ]+) \| ([^|]+) \|$", DOCUMENT.split("## Glossary")[1], re.MULTILINE)


def defined(module: Path) -> set[str]:
    """Return the names that a module defines at its top level."""
    names: set[str] = set()
    for node in ast.parse(module.read_text()).body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                names.add(node.name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


def test_ten_questions_are_answered() -> None:
    assert len(ANSWERS) == 10


@pytest.mark.parametrize(("path", "symbol"), ANSWERS)
def test_an_answer_is_the_one_file_that_defines_the_symbol(path: str, symbol: str) -> None:
    package = CHECKOUT.joinpath(*Path(path).parts[:3])
    definers = [module for module in package.rglob("*.py") if symbol in defined(module)]

    assert definers == [CHECKOUT / path]


@pytest.mark.parametrize(("path", "symbol"), PLACES)
def test_a_file_defines_the_symbol_of_its_row(path: str, symbol: str) -> None:
    assert symbol in defined(CHECKOUT / path)


def test_every_row_with_a_file_is_read() -> None:
    rows = re.findall(r"^\| .+ \| `[^`]+\.py` \|.*$", DOCUMENT, re.MULTILINE)

    assert len(rows) == len(PLACES) > len(ANSWERS)


def test_the_glossary_is_sorted_and_says_each_term_in_one_sentence() -> None:
    terms = [term for term, _ in TERMS]
    rows = [line for line in DOCUMENT.split("## Glossary")[1].splitlines() if line.startswith("| ")]

    assert len(terms) == len(rows) - 1  # the heading
    assert terms == sorted(terms)
    assert [term for term, sentence in TERMS if not sentence.endswith(".")] == []
