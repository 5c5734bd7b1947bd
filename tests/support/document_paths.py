"""Paths that documents and docstrings name, and where in the checkout they lead."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from mistral_dev.paths import CHECKOUT

SOURCES = ("operator/src", "server/src", "dev/src")
FOLDERS = ("charts", "dev", "examples")
"""Folders with a README of their own."""
BASES = (
    CHECKOUT,
    CHECKOUT / "operator" / "src" / "mistral_operator",
    CHECKOUT / "server" / "src" / "mistral_server",
    CHECKOUT / "dev" / "src" / "mistral_dev",
    CHECKOUT / "charts" / "mistral-small-operator",
)
"""Where a path in a document may begin: the checkout, a package, the chart."""

_SUFFIXES = "go|json|log|md|mod|py|sum|svg|toml|tpl|txt|ya?ml"
_PATH = re.compile(rf"(?<![\w/.~$:@-])[\w.-]+(?:/[\w.-]+)+\.(?:{_SUFFIXES})(?![\w/*-])")
_CODE = re.compile(r"`([^`\n]+)`")


def paths_in(text: str) -> set[str]:
    """Return what looks like the path of a file: names with a slash between, and an extension."""
    return set(_PATH.findall(text))


def code_paths_in(text: str) -> set[str]:
    """Return the paths in the code spans of a Markdown document."""
    return {path for code in _CODE.findall(text) for path in paths_in(code)}


def leads_somewhere(path: str) -> bool:
    """Tell whether a path exists in the checkout."""
    return any((base / path).is_file() for base in BASES)


def documents() -> list[Path]:
    """Return the documents that people read."""
    return [
        CHECKOUT / "README.md",
        CHECKOUT / "CONTRIBUTING.md",
        *sorted((CHECKOUT / "docs").rglob("*.md")),
        *(path for folder in FOLDERS for path in sorted((CHECKOUT / folder).rglob("README.md"))),
    ]


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield each module of the project with the text of its docstrings."""
    for source in SOURCES:
        for module in sorted((CHECKOUT / source).rglob("*.py")):
            nodes = ast.walk(ast.parse(module.read_text()))
            owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
            texts = (ast.get_docstring(node) for node in nodes if isinstance(node, owners))
            yield str(module.relative_to(CHECKOUT)), "\n".join(filter(None, texts))
