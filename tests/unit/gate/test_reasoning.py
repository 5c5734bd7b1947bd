"""`reasoning_effort` for models that have none, and for models that have one."""

import json
from pathlib import Path
from typing import Any

import pytest

from gate_engine import COMPLETIONS, Counted, FakeEngine, ask, gate
from mistral_server.gate.reasoning import lacks_effort

BODY = {"messages": [{"role": "user", "content": "Hi"}]}
MODEL = {"served_name": "tiny", "id": "m"}


def model(directory: Path, version: str, padding: int = 0) -> dict[str, Any]:
    """Write a tokenizer of a version; return the settings of its model."""
    config = {"pattern": "x" * padding, "num_vocab_tokens": 4000, "version": version}
    (directory / "tekken.json").write_text(json.dumps({"config": config, "vocab": []}))
    return {**MODEL, "path": str(directory)}


@pytest.mark.parametrize(
    ("version", "lacks"),
    [("v3", True), ("v11", True), ("v13", True), ("v15", False), ("v16", False), ("odd", False)],
)
def test_the_version_of_the_tokenizer_decides(tmp_path: Path, version: str, lacks: bool) -> None:
    assert lacks_effort(model(tmp_path, version)["path"]) is lacks


def test_a_version_that_is_not_found_decides_nothing(tmp_path: Path) -> None:
    assert lacks_effort(str(tmp_path)) is False
    assert lacks_effort(model(tmp_path, "v11", padding=2**17)["path"]) is False


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
async def test_an_effort_is_dropped_where_the_model_has_none(
    configure: Any, tmp_path: Path, effort: str
) -> None:
    configure(model=model(tmp_path, "v11"))
    engine = FakeEngine()
    with Counted() as counted:
        await ask(gate(engine), {**BODY, "reasoning_effort": effort})

    assert engine.request == {**BODY, "return_token_ids": True}
    assert counted.moved()["requests_changed_total{change=reasoning_effort}"] == 1


@pytest.mark.parametrize("effort", ["odd", None, 1, ["low"], {"effort": "low"}])
async def test_what_is_no_effort_is_the_engines_to_judge(
    configure: Any, tmp_path: Path, effort: Any
) -> None:
    configure(model=model(tmp_path, "v11"))
    engine = FakeEngine()
    await ask(gate(engine), {**BODY, "reasoning_effort": effort})

    assert engine.request["reasoning_effort"] == effort


async def test_an_effort_stays_where_the_model_has_one(configure: Any, tmp_path: Path) -> None:
    configure(model=model(tmp_path, "v15"))
    engine = FakeEngine()
    await ask(gate(engine), {**BODY, "reasoning_effort": "low"})

    assert engine.request["reasoning_effort"] == "low"


async def test_a_completion_keeps_its_fields(configure: Any, tmp_path: Path) -> None:
    configure(model=model(tmp_path, "v11"))
    engine = FakeEngine()
    await ask(gate(engine), {"prompt": "Hi", "reasoning_effort": "low"}, COMPLETIONS)

    assert engine.request["reasoning_effort"] == "low"
