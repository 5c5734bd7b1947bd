"""The documents say what the code does."""

import re
from pathlib import Path

import pytest

from document_paths import code_paths_in, docstrings, documents, leads_somewhere, paths_in
from mistral_operator.api import ConditionType, Reason
from mistral_server.contract import EXIT_CODES, FailureClass

ROOT = Path(__file__).parents[2]
STATUS = (ROOT / "docs" / "status.md").read_text()


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_documented(reason: Reason) -> None:
    assert f"`{reason}`" in STATUS


@pytest.mark.parametrize("kind", ConditionType)
def test_every_condition_is_documented(kind: ConditionType) -> None:
    assert f"| `{kind}` |" in STATUS


@pytest.mark.parametrize("failure", FailureClass)
def test_every_failure_is_documented_with_its_exit_code(failure: FailureClass) -> None:
    assert f"| `{failure}` | {EXIT_CODES[failure]} |" in STATUS


def test_every_link_between_the_documents_leads_somewhere() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{document.name}: {link}"
        for document in documents
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", _prose(document))
        if not (document.parent / link).exists()
    ]

    assert broken == []


EXAMPLES: dict[str, str] = {}
"""Paths that are named and not in the checkout, each with the reason."""


def test_every_path_that_a_document_or_a_docstring_names_exists() -> None:
    in_documents = {
        (str(document), path)
        for document in documents()
        for path in code_paths_in(document.read_text())
    }
    in_docstrings = {(module, path) for module, text in docstrings() for path in paths_in(text)}
    missing = {(by, path) for by, path in in_documents | in_docstrings if not leads_somewhere(path)}

    assert len(in_documents) > 20
    assert len(in_docstrings) > 10
    assert {(by, path) for by, path in missing if path not in EXAMPLES} == set()
    assert {path for _, path in missing} == set(EXAMPLES)


def _prose(document: Path) -> str:
    """Return a document without its code: a regular expression there may look like a link."""
    return re.sub(r"`[^`\n]*`", "", document.read_text())
