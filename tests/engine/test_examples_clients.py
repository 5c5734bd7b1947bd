"""The client programs against the real vLLM, behind our supervisor and gate.

The model is tiny and its weights random, so its output is noise; a request's ``logit_bias`` makes
it write the one call that the tests of the tool loop need.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tools
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from openai import OpenAI

from golden_cases import EXAMPLES
from mistral_dev.images import checkpoint
from server_runner import RunningServer

CLIENT = EXAMPLES / "client"

PROGRAM_SECONDS = 120
"""An answer of noise fills the whole context of 2048 tokens, at some 200 tokens a second."""


@pytest.fixture(scope="session")
def engine_url(shared_server: RunningServer) -> str:
    """Return the base URL of an engine that no test may stop or hurt."""
    return f"http://127.0.0.1:{shared_server.settings.port}/v1"


@pytest.fixture
def client(engine_url: str) -> Iterator[OpenAI]:
    """Return a client of the engine."""
    with OpenAI(base_url=engine_url, api_key="EMPTY") as one:
        yield one


@pytest.fixture(scope="session")
def call_options() -> dict[str, Any]:
    """Return request options with which the model can only call calculator({"expression": "7"}).

    The engine masks what neither the call's format nor the schema of the strict tool allows; of
    what remains, the largest bias wins. So the end comes as soon as it may, an expression ends as
    soon as it is not empty, and its only character is a 7.
    """
    tekken = MistralTokenizer.from_file(
        checkpoint.checkpoint() / "tekken.json"
    ).instruct_tokenizer.tokenizer
    biases = {tekken.eos_id: 100}
    biases |= {tekken.get_special_token(name): 90 for name in ("[TOOL_CALLS]", "[ARGS]")}
    for text, bias in {'"': 80, "7": 70, "}": 60, ":": 50}.items():
        (token,) = tekken.encode(text, bos=False, eos=False)
        biases[token] = bias
    return {
        "logit_bias": {str(token): bias for token, bias in biases.items()},
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_tokens": 200,
    }


def finished(program: str, url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end."""
    return subprocess.run(
        [sys.executable, "-W", "error", CLIENT / program, "--base-url", url, *arguments],
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )


def run(program: str, url: str, *arguments: str) -> str:
    """Run a program as a newcomer does and return what it printed."""
    done = finished(program, url, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("program", ["chat.py", "stream.py", "image.py"])
def test_a_program_prints_an_answer(engine_url: str, program: str) -> None:
    assert run(program, engine_url).strip()


def test_the_program_with_tools_answers_or_says_why_not(engine_url: str) -> None:
    # Random weights may begin a tool call and never end it.
    done = finished("tools.py", engine_url)

    if done.returncode == 0:
        assert done.stdout.strip()
    else:
        assert done.stderr.startswith("The answer was cut in the middle of a tool call.")


def test_a_stream_counts_its_tokens(engine_url: str) -> None:
    last = run("stream.py", engine_url, "Hi").strip().splitlines()[-1]

    assert last.endswith(" out)")
    assert " tokens in, " in last


def test_a_file_is_taken_as_the_image(engine_url: str, tmp_path: Path) -> None:
    import image

    photo = tmp_path / "photo.png"
    photo.write_bytes(image.half_red_half_blue())

    assert run("image.py", engine_url, str(photo)).strip()


def test_a_tool_call_goes_the_whole_way(
    client: OpenAI, call_options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answer = tools.converse(client, "tiny", **call_options)

    calls = "".join(capsys.readouterr().out.split())  # the model may put spaces between
    assert calls == 'calculator({"expression":"7"})->7' * tools.MAX_ROUNDS
    assert "TOOL_CALLS" not in answer, "the last answer is text"


@pytest.mark.parametrize("room", [4, 8, 10])
def test_a_tool_call_that_was_cut_is_not_run(
    client: OpenAI, call_options: dict[str, Any], room: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(tools.UnfinishedError):
        tools.converse(client, "tiny", **call_options | {"max_tokens": room})

    assert capsys.readouterr().out == ""
