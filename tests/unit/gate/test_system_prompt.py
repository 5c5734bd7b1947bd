"""The deployment's system prompt: a template, filled in for today."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from mistral_server.gate.system_prompt import SystemPrompt


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
