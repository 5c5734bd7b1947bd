"""What decides is pure: it uses no clock, no file and no terminal, whatever it imports.

The contract of import-linter keeps out modules. `datetime.now` and `open` are in no module that
could be kept out, and a list of what is forbidden forgets some.
"""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mistral_dev.paths import CHECKOUT

CONTRACTS = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]
(PURE,) = [one for one in CONTRACTS if one["name"].startswith("What decides is pure")]
SOURCES = CHECKOUT / "operator" / "src"

LIBRARIES = {
    *("collections", "copy", "dataclasses", "datetime", "decimal", "difflib", "enum", "hashlib"),
    *(
        "ipaddress",
        "itertools",
        "json",
        "math",
        "msgspec",
        "pydantic",
        "pydantic_core",
        "re",
        "textwrap",
        "typing",
        "yaml",
        "zlib",
    ),
    *("mistral_operator", "mistral_server"),
}
"""Packages that pure modules import: of the standard library, those without effects."""

FUNCTIONS = {
    *("breakpoint", "compile", "eval", "exec", "globals", "hash", "id", "input", "now_text"),
    *("open", "print", "__import__"),
}
"""Functions with effects, or whose result differs from process to process."""

METHODS = {
    *("now", "today", "utcnow", "astimezone", "fromtimestamp", "monotonic", "time_ns"),
    *("read_bytes", "read_text", "write_bytes", "write_text", "open", "random", "urandom"),
}
"""Methods that read the clock, the time zone of the machine, files, or chance."""


def modules_of(name: str) -> list[Path]:
    """Return the files of a module or package."""
    path = SOURCES.joinpath(*name.split("."))
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


FILES = {
    str(path.relative_to(SOURCES)): path
    for name in PURE["source_modules"]
    for path in modules_of(name)
}


def impure(source: str) -> list[str]:
    """Return what a module uses that is not pure."""
    return list(_impure(ast.parse(source)))


def _impure(tree: ast.AST) -> Iterator[str]:
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (one.name for one in names if not _is_pure(one.name))
            case ast.ImportFrom(module=str(module)) if not _is_pure(module):
                yield module
            case ast.Name(id=name, ctx=ast.Load()) if name in FUNCTIONS:
                yield name
            case ast.Attribute(attr=name) if name in METHODS:
                # `inputs.now` is an argument.
                if node in called or ast.unparse(node.value).endswith(("date", "datetime")):
                    yield name


def _is_pure(module: str) -> bool:
    return module.split(".")[0] in LIBRARIES


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("from datetime import datetime, timedelta\nlater = at + timedelta(seconds=3)", []),
        ("from datetime import UTC, datetime\nat = datetime.now(UTC)", ["now"]),
        ("import datetime as d\nat = d.datetime.today()", ["today"]),
        ("clock = datetime.utcnow", ["utcnow"]),
        ("from mistral_operator.kube.clock import now_text\nat = now_text()", ["now_text"]),
        ("text = open('/etc/hostname').read()", ["open"]),
        ("text = Path('a').read_text()", ["read_text"]),
        ("with Path('a').open() as file: pass", ["open"]),
        ("from pathlib import Path", ["pathlib"]),
        ("def late():\n    import time", ["time"]),
        ("from time import time", ["time"]),
        ("import os.path, io", ["os.path", "io"]),
        ("from secrets import token_hex", ["secrets"]),
        ("print('a')", ["print"]),
        ("show = print", ["print"]),
        ("def decide(inputs): return inputs.now", []),
        ("status_input = now = open_paths = 1\nnow + open_paths", []),
    ],
)
def test_what_is_not_pure_is_found(source: str, result: list[str]) -> None:
    assert impure(source) == result


def test_every_pure_module_of_the_contract_exists() -> None:
    assert len(FILES) > 50
    assert [name for name, path in FILES.items() if not path.exists()] == []


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_a_pure_module_has_no_effects(file: Path) -> None:
    assert impure(file.read_text()) == []
