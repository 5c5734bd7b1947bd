"""docs/architecture.md names the files and rooms of the code, and its drawings can be read."""

import re
import tomllib
from typing import Any

import pytest

from mistral_dev.paths import CHECKOUT

DOCUMENT = (CHECKOUT / "docs" / "architecture.md").read_text()
LAYERS, FILES = DOCUMENT.split("## Which file to open")
CONTRACTS: list[dict[str, Any]] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"][
    "importlinter"
]["contracts"]
SOURCES = {
    "mistral_operator": "operator/src/mistral_operator",
    "mistral_server": "server/src/mistral_server",
}
LAYERED = {
    contract["containers"][0]: contract["layers"]
    for contract in CONTRACTS
    if contract["type"] == "layers"
}
ROOMS = [
    (package, room)
    for package, layers in LAYERED.items()
    for layer in layers
    for room in layer.split(" | ")
]
PATH = re.compile(r"`((?:operator|server|dev|charts|tests)/[^`]+)`")
PATHS = set(PATH.findall(FILES))
ANSWERS = PATHS | set(PATH.findall((CHECKOUT / "CONTRIBUTING.md").read_text()))
SMALL_HELPERS = {
    "operator/src/mistral_operator/kube/apply_text.py",
    "operator/src/mistral_operator/kube/clock.py",
    "operator/src/mistral_operator/kube/objects.py",
    "operator/src/mistral_operator/kube/plurals.py",
    "operator/src/mistral_operator/signals/polling.py",
    "server/src/mistral_server/cli/json_lines.py",
    "server/src/mistral_server/engine_log/log_record.py",
    "server/src/mistral_server/gate/asgi.py",
}
"""Modules that are read on the way to others; a question does not begin with them."""
MODULES = {
    str(module.relative_to(CHECKOUT))
    for source in SOURCES.values()
    for module in (CHECKOUT / source).rglob("*.py")
    if module.name != "__init__.py"
}


def leads_to(module: str) -> bool:
    """Tell whether a row of a table names the module or a folder of it."""
    return any(module == path or module.startswith(f"{path.rstrip('/')}/") for path in ANSWERS)


def test_both_packages_have_layers() -> None:
    assert LAYERED.keys() == SOURCES.keys()


@pytest.mark.parametrize("package", SOURCES)
def test_the_layers_are_those_of_the_import_contract(package: str) -> None:
    assert f"`{' > '.join(LAYERED[package])}`" in LAYERS


@pytest.mark.parametrize(("package", "room"), ROOMS)
def test_every_room_has_a_sentence(package: str, room: str) -> None:
    rows = [line for line in LAYERS.splitlines() if line.startswith("| `")]

    assert [row for row in rows if f"`{room}`" in row.split("|")[1]]


@pytest.mark.parametrize(("package", "room"), ROOMS)
def test_every_room_has_a_file_to_open(package: str, room: str) -> None:
    base = f"{SOURCES[package]}/{room}"

    assert [path for path in PATHS if path == f"{base}.py" or path.startswith(f"{base}/")]


def test_every_path_in_the_table_exists() -> None:
    assert [path for path in sorted(PATHS) if not (CHECKOUT / path).exists()] == []


@pytest.mark.parametrize("module", sorted(MODULES - SMALL_HELPERS))
def test_a_row_leads_to_every_module(module: str) -> None:
    assert leads_to(module), f"add a row to docs/architecture.md that says when to open {module}"


def test_a_small_helper_exists_and_has_no_row() -> None:
    assert sorted(SMALL_HELPERS - MODULES) == []
    assert [module for module in sorted(SMALL_HELPERS) if leads_to(module)] == []


def test_every_table_row_opens_something() -> None:
    rows = [
        line
        for line in FILES.splitlines()
        if line.startswith("| ") and not line.startswith("| to change")
    ]

    assert len(rows) > 50
    assert [row for row in rows if not any(path in row for path in PATHS)] == []


DRAWINGS: list[str] = re.findall(r"```mermaid\n(.*?)```", DOCUMENT, re.DOTALL)
OPENING = re.compile(r"^(subgraph|alt|loop|opt)\b|^state .*\{$")
CLOSING = re.compile(r"^(end|\})$")


def test_there_is_a_drawing_of_each_subject() -> None:
    kinds = [drawing.split()[0] for drawing in DRAWINGS]

    assert kinds == [
        "flowchart",
        "flowchart",
        "stateDiagram-v2",
        "sequenceDiagram",
        "sequenceDiagram",
    ]


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda drawing: drawing.split()[0])
def test_a_drawing_closes_what_it_opens(drawing: str) -> None:
    lines = [line.strip() for line in drawing.splitlines()]
    unquoted = re.sub(r'"[^"\n]*"', "", drawing)

    assert len(list(filter(OPENING.match, lines))) == len(list(filter(CLOSING.match, lines)))
    assert '"' not in unquoted
    for opening, closing in ("[]", "{}", "()"):
        assert unquoted.count(opening) == unquoted.count(closing)


@pytest.mark.parametrize("drawing", [one for one in DRAWINGS if one.startswith("sequence")])
def test_the_messages_of_a_sequence_are_between_its_participants(drawing: str) -> None:
    participants = set(re.findall(r"^ *participant (\w+) as ", drawing, re.MULTILINE))
    messages = re.findall(r"^ *(\w+)--?>>(\w+): (.+)$", drawing, re.MULTILINE)

    assert {end for first, second, _ in messages for end in (first, second)} == participants
    # A semicolon would end the message.
    assert [text for *_, text in messages if ";" in text] == []
