"""The deployment's system prompt: a template, filled in for today."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from gate_engine import Counted
from mistral_server.contract import SystemPromptSettings
from mistral_server.errors import InvalidConfigurationError
from mistral_server.gate.system_prompt import SystemPrompt, check_system_prompt


def day() -> datetime.date:
    return datetime.date(2026, 3, 1)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{name} {today} {yesterday}", "tiny 2026-03-01 2026-02-28"),
        (
            '{"json": {"today": {other}}} {} {0} {name!r}',
            '{"json": {"today": {other}}} {} {0} {name!r}',
        ),
        ("", ""),
    ],
)
def test_a_template_is_filled_in_and_its_other_braces_stay(
    tmp_path: Path, template: str, text: str
) -> None:
    path = tmp_path / "prompt"
    path.write_text(template)

    assert SystemPrompt(str(path), "tiny", day).render() == text


def test_a_changed_template_is_read_again_and_a_lost_one_kept(tmp_path: Path) -> None:
    path = tmp_path / "prompt"
    prompt: Any = SystemPrompt(str(path), "tiny", day)
    assert prompt.render() is None

    path.write_text("one")
    assert prompt.render() == "one"

    other = tmp_path / "other"
    other.write_text("two")
    other.rename(path)  # as a ConfigMap's volume does it
    assert prompt.render() == "two"

    path.unlink()
    assert prompt.render() == "two"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_is_not_part_of_the_prompt(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "prompt"
    path.write_text("Un café,\r\ns'il vous plaît", encoding=encoding)

    check_system_prompt(SystemPromptSettings(path=str(path)))
    assert SystemPrompt(str(path), "tiny", day).render() == "Un café,\ns'il vous plaît"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-32"])
def test_a_server_does_not_start_without_its_prompt(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "prompt"
    settings = SystemPromptSettings(path=str(path))
    with pytest.raises(
        InvalidConfigurationError, match=r"system_prompt\.path, prompt: No such file"
    ):
        check_system_prompt(settings)

    path.write_text("Un café", encoding=encoding)
    with pytest.raises(InvalidConfigurationError, match="is not UTF-8: save it"):
        check_system_prompt(settings)

    check_system_prompt(None)


def test_a_prompt_that_becomes_unreadable_is_counted_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "prompt"
    path.write_text("one")
    prompt: Any = SystemPrompt(str(path), "tiny", day)
    assert prompt.render() == "one"
    path.write_text("Un café", encoding="latin-1")

    with Counted() as counted:
        assert prompt.render() == "one"
    assert counted.moved() == {"gate_errors_total{where=system_prompt}": 1}
