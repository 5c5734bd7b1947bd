"""The word list: terms and phrases that user-facing text avoids, with their replacements.

`make check` applies it to the CRD, the chart, the documents, the messages in the code (string
literals of more than one word, such as conditions, log lines and help texts) and to identifiers,
also in tests. Spelling is codespell's part. Add a term here when a reader stumbled over it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from mistral_dev.paths import CHECKOUT


@dataclass(frozen=True)
class Term:
    """A term to avoid.

    Args:
        pattern: of a regular expression; case is ignored, and a space matches a line break.
        instead: what to write.
        allowed: exact pieces of text around a match that are fine, each with its reason.
    """

    pattern: str
    instead: str
    allowed: tuple[tuple[str, str], ...] = ()


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


_ASLEEP = ("Asleep", "the condition reason, which is API")

TERMS: tuple[Term, ...] = (
    Term(r"lacks? of memory|want of memory", "out-of-memory failure, memory failure"),
    Term(r"ends of the engine|ends in a row|ends with CudaOom", "exits, failures"),
    Term(
        r"\b(?:sleeps?|slept|sleeping|asleep)\b",
        "scaled to zero",
        (
            _ASLEEP,
            ("sleeping.yaml", "the name of an example"),
            ("name: sleeping", "the name of an endpoint in it"),
        ),
    ),
    Term(
        r"\b(?:wakes?|woken|woke|waking)\b(?!-)",
        "scale from zero, start",
    ),
    Term(r"\b(?:held requests?|requests? (?:that )?(?:is|are) held)\b", "queued request"),
    Term(r"copies (?:from which|and \d)|(?:\d+|that the|these) copies\b", "repetitions"),
    Term(
        r"silent pods?|pods? (?:is|are) silent|says? what (?:it|they) (?:does|do)\b",
        "reported load, pods without a load report",
    ),
    Term(r"\bwho(?:ever| calls)\b", "the client, anyone who"),
    Term(r"\bhonest(?:y|ly)?\b", "accurate"),
    Term(r"\b(?:stands?|standing|stood) by\b", "standby replica"),
    Term(r"\b(?:stands?|standing|stood) in for\b", "override, serve in place of"),
    Term(r"\b(?:some|no|any|every)body\b", "the actor by name, anyone, another owner"),
    Term(r"\bpatien(?:t|tly|ce)\b", "retry, timeout"),
    Term(r"\bfor ever\b", "forever, endlessly"),
    Term(r"quantis", "quantiz..."),
    Term(r"in the way of requests", "on the request path"),
    Term(r"the last word\b", "the last reported value"),
    Term(r"operator (?:that )?(?:is|may be) away", "while the operator is down"),
    Term(r"without a hand\b", "automatically"),
    Term(r"\bastray\b", "redirect"),
    Term(r"\b(?:fewest|most) replicas\.|largest request\.", "minimum, maximum"),
    Term(r"least level|shape of a line", "minimum log level, log format"),
    Term(r"(?-i:\bMake the [A-Z]\w+)", "create the ..."),
    Term(r"# rights\.", "RBAC."),
    Term(r"between two looks|two looks", "polling interval"),
    Term(r"a quarter of an hour|a minute and a half\b", "15 minutes, 90 seconds"),
    Term(r"will not mend", "will not resolve by itself"),
    Term(r"belongs into", "use the field, belongs in"),
    Term(r"swap or equal", "make the minimum no larger than the maximum"),
    Term(r"what is changed stands", "the changes are recorded"),
    Term(r"they stand in vllm|stand in vllm's", "are exposed on"),
    Term(r"has a class\b", "is classified"),
    Term(r"\b(?:gpus?|images) a (?:replica|prompt)\b|\d a replica\b", "per replica, per prompt"),
    Term(r"reach nothing that", "can reach only"),
    Term(r"\bof yours\b", "your own"),
    Term(r"believes that", "assumes that"),
    Term(r"no whole numbers", "not whole numbers"),
    Term(r"idle is what", "an endpoint is idle when"),
    Term(r"begins with (?:\d+ replicas|$)", "starting with ..."),
    Term(r"\b1 (?:gpus|replicas|pods|requests|ends|failures)\b", "the singular"),
    Term(r"no lack of|nothing is left to do", "none seen, the rollout is complete"),
    Term(r"nothing is asked of", "all replicas are idle"),
    Term(r"ask for (?:\d+ replicas|$)", "need ... replicas"),
    Term(r"something else keeps writing", "another controller keeps changing"),
    Term(r"what the model'?s files hold decides", "it depends on the checkpoint"),
    Term(r"weights of \d+ bits", "16-bit weights"),
    Term(r"nothing ended of|nobody asked for", "does not terminate, unexpected"),
    Term(r"leader that says nothing|silent leader", "seconds without renewal"),
    Term(r"fewest \w+ .{0,30}that may be set|that may be set\.", "lower limit for ..."),
    Term(r"that are looked back on", "stabilization window"),
    Term(r"said of; what was tried", "belong to; reset when"),
    Term(r"bring none of their own", "do not provide one"),
    Term(r"what becomes of", "how ... is handled"),
    Term(r"none is asked for", "no authentication"),
    Term(r"say `length` where", "report finish reason `length` when"),
    Term(r"cannot be looked into before", "is known only once"),
    Term(r"somewhat of its own accord", "automatically"),
)
"""For user-facing text."""

IDENTIFIERS: dict[str, str] = {
    "Circumstances": "Inputs",
    "Doors": "Listeners",
    "Look": "LoadSample",
    "NamespaceLeaving": "NamespaceTerminating",
    "Reading": "LoadReading",
    "Shelf": "an index",
    "Situation": "StatusInput",
    "World": "Dependencies",
    "account": "record",
    "asked": "desired, requested",
    "beat": "heartbeat",
    "bid_farewell": "on_pod_deleted",
    "books": "history",
    "bury": "tombstone",
    "busy_patience": "busy_retries",
    "calm": "mark_resolved",
    "drop_unseen": "delete_missing",
    "found": "match, result",
    "given": "inputs",
    "going": "terminating",
    "heard": "reported",
    "is_waited_out": "should_retry_unchanged",
    "judge": "evaluate",
    "judged": "evaluated, results",
    "known": "registered, recorded",
    "learnt": "learned, stored",
    "leaving": "terminating",
    "over_budget": "limit_exceeded",
    "overlook_generators": "ignore_generator_close_errors",
    "patiently": "a name with retry",
    "place": "slot",
    "retreat": "revert_all",
    "said": "message, report",
    "saw": "on_event",
    "swept": "replace",
    "takes_for_ever": "takes_too_long",
    "told": "reported",
    "treat": "remediate",
    "wanted": "desired",
}
"""Names that code avoids, with better ones; leading underscores and the case of constants aside."""

RENAMED: tuple[str, ...] = (
    "dev/src",
    "examples/transformers",
    "operator/src/mistral_operator/__main__.py",
    "operator/src/mistral_operator/activator",
    "operator/src/mistral_operator/api",
    "operator/src/mistral_operator/autoscaling",
    "operator/src/mistral_operator/cli.py",
    "operator/src/mistral_operator/fit",
    "operator/src/mistral_operator/kube",
    "operator/src/mistral_operator/metrics.py",
    "operator/src/mistral_operator/process",
    "operator/src/mistral_operator/render",
    "operator/src/mistral_operator/scale_to_zero.py",
    "operator/src/mistral_operator/signals",
    "operator/src/mistral_operator/watch",
    "server/src",
    "tests/chart",
    "tests/cluster",
    "tests/engine",
    "tests/faults",
    "tests/support/fake_api_server.py",
    "tests/support/fake_fields.py",
    "tests/support/fake_objects.py",
    "tests/support/fake_validation.py",
    "tests/support/fake_workloads.py",
    "tests/support/fault_api.py",
    "tests/support/fault_crashes.py",
    "tests/support/fault_exchange.py",
    "tests/support/fault_lane.py",
    "tests/support/fault_leaders.py",
    "tests/support/fault_operations.py",
    "tests/support/fault_operator.py",
    "tests/support/fault_pair.py",
    "tests/support/fault_proxy.py",
    "tests/support/fault_proxy_requests.py",
    "tests/support/fault_proxy_watches.py",
    "tests/support/fault_rights.py",
    "tests/support/fault_selection.py",
    "tests/support/fault_stories.py",
    "tests/unit/activator",
    "tests/unit/api",
    "tests/unit/autoscaling",
    "tests/unit/cli",
    "tests/unit/contract",
    "tests/unit/dev",
    "tests/unit/engine",
    "tests/unit/engine_log",
    "tests/unit/fit",
    "tests/unit/gate",
    "tests/unit/gpu",
    "tests/unit/kube",
    "tests/unit/lab",
    "tests/unit/process",
    "tests/unit/render",
    "tests/unit/signals",
    "tests/unit/supervisor",
    "tests/unit/support",
    "tests/unit/test_cli.py",
    "tests/unit/test_cli_fit.py",
    "tests/unit/watch",
)
"""Files and directories where none of these names is left. The others follow."""

_TEXTS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs", "examples", "charts", "crds")
_TEXT_SUFFIXES = {".md", ".yaml", ".tpl", ".txt"}
_CODE = ("operator/src", "server/src", "dev/src", "examples")
_TESTS = tuple(path for path in RENAMED if path.startswith("tests/"))
"""Checked for identifiers only: no user reads the strings in tests."""
_SKIPPED = {
    "charts/mistral-small-operator/templates/crds": "a copy of crds/",
    "docs/decisions": "decisions are kept as they were made",
    "dev/src/mistral_dev/wording.py": "the list itself",
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
    findings += [
        finding
        for path in _files(root, _TESTS, {".py"})
        for finding in in_names(path.relative_to(root), ast.parse(path.read_text(encoding="utf-8")))
    ]
    return findings


def _files(root: Path, names: tuple[str, ...], suffixes: set[str]) -> Iterator[Path]:
    for name in names:
        top = root / name
        paths = [top] if top.is_file() else sorted(top.rglob("*"))
        for path in paths:
            relative = path.relative_to(root).as_posix()
            skipped = any(relative.startswith(one) for one in _SKIPPED)
            if path.suffix in suffixes and not skipped:
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


def in_code(path: Path, source: str) -> Iterator[Finding]:
    """Yield the terms in the messages of a Python file, and the names that code avoids."""
    tree = ast.parse(source)
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for text, line in _messages(tree, documentation):
        yield from (Finding(path, line, one.words, one.instead) for one in in_text(path, text))
    yield from in_names(path, tree)


def _messages(tree: ast.Module, documentation: set[int]) -> Iterator[tuple[str, int]]:
    """Yield the string literals of more than one word that are no docstrings, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in documentation:
            text = node.value
            if isinstance(text, str) and " " in text:
                yield text, node.lineno


def in_names(path: Path, tree: ast.Module) -> Iterator[Finding]:
    """Yield the names that code avoids; an imported name belongs to the file that defines it."""
    if not path.as_posix().startswith(RENAMED):
        return
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported = {alias.asname or alias.name for node in imports for alias in node.names}
    for node in ast.walk(tree):
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
        ):
            plain = name.lstrip("_")
            return plain.lower() if plain.isupper() else plain
    return ""


@click.command()
def wording() -> None:
    """Check the texts that users read against the word list."""
    findings = find_all()
    for finding in findings:
        click.echo(finding, err=True)
    if findings:
        raise SystemExit(1)
