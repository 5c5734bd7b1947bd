"""vLLM's own argument parser, for tests that ask whether vLLM would take a command line.

``parse`` runs this same file with the engine's interpreter, once for any number of command lines,
since importing vLLM takes some ten seconds. There the parser is built as ``vllm serve`` builds it.
"""

import contextlib
import importlib
import io
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

TIMEOUT_SECONDS = 300
"""Importing vLLM takes 10 s on an idle machine and several times that on a busy one."""


@dataclass(frozen=True)
class Parsed:
    """What vLLM made of one command line: its namespace, or the error it printed."""

    namespace: dict[str, Any]
    error: str | None


def parse(command_lines: Iterable[Sequence[str]]) -> list[Parsed]:
    """Return what vLLM's parser says to each list of arguments that follow ``vllm``.

    Raises:
        subprocess.CalledProcessError: the engine's interpreter could not run the parser.
    """
    from mistral_dev.images import engine

    done = subprocess.run(
        [engine.engine() / "bin" / "python", __file__],
        input=json.dumps([list(line) for line in command_lines]),
        env=engine.environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [Parsed(**answer) for answer in json.loads(done.stdout)]


def _inside() -> None:
    """Answer on the standard output, which vLLM's own log must not reach."""
    answers = sys.stdout
    sys.stdout = sys.stderr
    parser, validate = _build()
    result = [_answer(parser, validate, line) for line in json.load(sys.stdin)]
    json.dump(result, answers, default=str)


def _build() -> tuple[Any, Any]:
    serve = importlib.import_module("vllm.entrypoints.cli.serve").ServeSubcommand()
    utils = importlib.import_module("vllm.utils.argparse_utils")
    parser = utils.FlexibleArgumentParser(description="vLLM CLI")
    serve.subparser_init(parser.add_subparsers(dest="subparser"))
    return parser, serve.validate


def _answer(parser: Any, validate: Any, line: list[str]) -> dict[str, Any]:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            namespace = parser.parse_args(line)
            validate(namespace)
    except SystemExit:
        return {"namespace": {}, "error": said.getvalue() or "exit without a word"}
    except Exception as error:  # vLLM validates with whatever exception comes to hand
        return {"namespace": {}, "error": f"{type(error).__name__}: {error}"}
    return {"namespace": vars(namespace), "error": None}


if __name__ == "__main__":
    _inside()
