"""Applies the word list to the texts and names of the project.

`make check` reads the CRD, the chart, the documents and all code, tests included: string
literals of more than one word (conditions, log lines, help texts), docstrings, comments, the names
of functions and classes as words, and every identifier. Spelling is codespell's part.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import click

from mistral_dev.paths import CHECKOUT
from mistral_dev.word_list import IDENTIFIERS, TERMS, Term


@dataclass(frozen=True)
class Finding:
    """One place where a term is used."""

    path: Path
    line: int
    words: str
    instead: str

    def __str__(self) -> str:
        """Return the line that `make check` prints."""
        return f"{self.path}:{self.line}: {self.words!r}: write {self.instead}"


_TEXTS = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs", "examples", "charts", "crds"),
    *("Makefile", "pyproject.toml", "tests/chart/rules"),
)
_TEXT_SUFFIXES = {".md", ".yaml", ".tpl", ".txt"}
_CODE = ("operator/src", "server/src", "dev/src", "examples", "tests")
_SKIPPED = {
    "charts/mistral-small-operator/templates/crds": "a copy of crds/",
    "docs/decisions": "decisions are kept as they were made",
    "dev/src/mistral_dev/word_list.py": "the list itself",
    "tests/data": "recorded, such as logs",
    "tests/unit/dev/test_wording.py": "the test of the list",
}
_BREAK = r"(?:\s|#)+"
"""Between two words: also the beginning of the next line of a comment."""


def find_all(root: Path = CHECKOUT) -> list[Finding]:
    """Return every use of a term, in the order of files and lines."""
    findings = [
        finding
        for path in _files(root, _TEXTS, _TEXT_SUFFIXES)
        for finding in in_text(path.relative_to(root), path.read_text(encoding="utf-8"))
    ]
    findings += [
        finding
        for path in _files(root, _CODE, {".py"})
        for finding in in_code(path.relative_to(root), path.read_text(encoding="utf-8"))
    ]
    return findings


def _files(root: Path, names: tuple[str, ...], suffixes: set[str]) -> Iterator[Path]:
    """Yield the named files, and those with some suffixes in the named directories."""
    for name in names:
        top = root / name
        inner = (path for path in top.rglob("*") if path.suffix in suffixes)
        for path in [top] if top.is_file() else sorted(inner):
            relative = path.relative_to(root).as_posix()
            if not any(relative.startswith(one) for one in _SKIPPED):
                yield path


def in_text(path: Path, text: str) -> Iterator[Finding]:
    """Yield the terms in a text, by line."""
    for match, term in sorted(_matches(text), key=lambda one: one[0].start()):
        line = text.count("\n", 0, match.start()) + 1
        yield Finding(path, line, " ".join(match[0].split()), term.instead)


def _matches(text: str) -> Iterator[tuple[re.Match[str], Term]]:
    for term in TERMS:
        for match in _compiled(term).finditer(text):
            if not any(_covers(text, match, piece) for piece, _ in term.allowed):
                yield match, term


@cache
def _compiled(term: Term) -> re.Pattern[str]:
    return re.compile(term.pattern.replace(" ", _BREAK), re.IGNORECASE)


def _covers(text: str, match: re.Match[str], piece: str) -> bool:
    """Return whether a match lies within an allowed piece of text; its case counts."""
    context = text[max(0, match.start() - len(piece)) : match.end() + len(piece)]
    return piece in context and match[0] in piece


def in_code(path: Path, source: str) -> list[Finding]:
    """Return the terms in the texts and names of a Python file, and the names that code avoids."""
    nodes = list(ast.walk(ast.parse(source)))
    findings = list(_names(path, nodes))
    for text, first, last in [*_strings(nodes), *_comments(source), *_definitions(nodes)]:
        findings += [
            replace(one, line=min(first + one.line - 1, last)) for one in in_text(path, text)
        ]
    return sorted(findings, key=lambda one: one.line)


_Text = tuple[str, int, int]
"""A text with its first and last line."""


def _strings(nodes: list[ast.AST]) -> Iterator[_Text]:
    """Yield docstrings, and string literals of more than one word, a formatted one as a whole."""
    formatted = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in formatted for part in node.values}
    for string in formatted:
        # A phrase may go on behind a value, which mostly is a number.
        text = "".join(_literal(part) or "0" for part in string.values)
        if " " in text:
            yield text, string.lineno, string.end_lineno or string.lineno
    for node in nodes:
        if isinstance(node, ast.Constant) and id(node) not in parts and " " in _literal(node):
            yield _literal(node), node.lineno, node.end_lineno or node.lineno


def _literal(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _comments(source: str) -> Iterator[_Text]:
    """Yield comments; those on successive lines are one text."""
    lines: list[str] = []
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if lines and token.start[0] != last + 1:
                yield "\n".join(lines), last - len(lines) + 1, last
                lines = []
            lines.append(token.string)
            last = token.start[0]
    if lines:
        yield "\n".join(lines), last - len(lines) + 1, last


def _definitions(nodes: list[ast.AST]) -> Iterator[_Text]:
    """Yield the names of functions and classes as words: those of tests are sentences."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield re.sub(r"_|(?<=[a-z])(?=[A-Z])", " ", node.name), node.lineno, node.lineno


def _names(path: Path, nodes: list[ast.AST]) -> Iterator[Finding]:
    """Yield the names that code avoids; an imported name belongs to the file that defines it."""
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    imported = {alias.asname or alias.name for node in imports for alias in node.names}
    for node in nodes:
        name = _name(node)
        foreign = isinstance(node, ast.Name) and node.id in imported
        if name in IDENTIFIERS and not foreign:
            line: int = getattr(node, "lineno", 1)
            yield Finding(path, line, name, IDENTIFIERS[name])


def _name(node: ast.AST) -> str:
    """Return the name that a node defines or uses, as `IDENTIFIERS` has it."""
    match node:
        case (
            ast.Name(id=name)
            | ast.Attribute(attr=name)
            | ast.arg(arg=name)
            | ast.keyword(arg=str(name))
            | ast.FunctionDef(name=name)
            | ast.AsyncFunctionDef(name=name)
            | ast.ClassDef(name=name)
            | ast.ExceptHandler(name=str(name))
            | ast.MatchAs(name=str(name))
            | ast.MatchStar(name=str(name))
        ):
            plain = name.lstrip("_")
            return plain.lower() if plain.isupper() else plain
    return ""


@click.command()
def wording() -> None:
    """Check texts against the word list."""
    findings = find_all()
    for finding in findings:
        click.echo(finding, err=True)
    if findings:
        raise SystemExit(1)
