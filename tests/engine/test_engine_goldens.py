"""vLLM's own parser takes the command line of every pod that the golden files hold."""

from pathlib import Path

import pytest
import yaml

from engine_parser import Parsed, parse
from golden_cases import GOLDEN, pod_spec, server_settings_in
from mistral_server.engine.argv import engine_arguments

FILES = sorted(GOLDEN.glob("*.yaml"))


def command_line(file: Path) -> list[str]:
    """Return what the server in a golden file will start, without the program's name."""
    objects = list(yaml.safe_load_all(file.read_text()))
    return ["serve", *engine_arguments(server_settings_in(pod_spec(objects)))]


@pytest.fixture(scope="module")
def answers() -> dict[str, Parsed]:
    """Return vLLM's parser result for each golden file, from one call."""
    parsed = parse(command_line(file) for file in FILES)
    return dict(zip((file.stem for file in FILES), parsed, strict=True))


def test_there_are_golden_files() -> None:
    assert FILES, "`pytest tests/golden --update-golden` writes them"


@pytest.mark.parametrize("name", [file.stem for file in FILES])
def test_vllm_takes_the_command_line(answers: dict[str, Parsed], name: str) -> None:
    assert answers[name].error is None
