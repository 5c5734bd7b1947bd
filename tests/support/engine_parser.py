"""vLLM's own argument parser, for tests of whether vLLM accepts a command line.

``parse`` runs this same file with the engine's interpreter, once for any number of command lines,
since importing vLLM takes some ten seconds. There the parser is built as ``vllm serve`` builds it.
"""

import contextlib
import importlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import engine_interpreter


@dataclass(frozen=True)
class Parsed:
    """What vLLM made of one command line: its namespace, or the error it printed."""

    namespace: dict[str, Any]
    error: str | None


def parse(command_lines: Iterable[Sequence[str]]) -> list[Parsed]:
    """Return the result of vLLM's parser for each list of arguments after ``vllm``.

    Raises:
        AssertionError: the engine's interpreter could not run the parser.
    """
    answers = engine_interpreter.ask(__file__, [list(line) for line in command_lines])
    return [Parsed(**answer) for answer in answers]


def _inside(lines: list[list[str]]) -> list[dict[str, Any]]:
    parser, validate = _build()
    return [_answer(parser, validate, line) for line in lines]


def _build() -> tuple[Any, Any]:
    serve = importlib.import_module("vllm.entrypoints.cli.serve").ServeSubcommand()
    utils = importlib.import_module("vllm.utils.argparse_utils")
    parser = utils.FlexibleArgumentParser(description="vLLM CLI")
    serve.subparser_init(parser.add_subparsers(dest="subparser"))
    return parser, serve.validate


def _answer(parser: Any, validate: Any, line: list[str]) -> dict[str, Any]:
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            namespace = parser.parse_args(line)
            validate(namespace)
    except SystemExit:
        return {"namespace": {}, "error": errors.getvalue() or "exit without a word"}
    except Exception as error:  # vLLM validates with whatever exception comes to hand
        return {"namespace": {}, "error": f"{type(error).__name__}: {error}"}
    return {"namespace": vars(namespace), "error": None}


if __name__ == "__main__":
    engine_interpreter.answer(_inside, default=str)
