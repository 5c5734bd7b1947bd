"""Run a test helper's own file with the interpreter that has vLLM, and let it answer in JSON."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 300
"""Importing vLLM takes 10 s on an idle machine and several times that on a busy one."""


def ask(file: str, question: object, *arguments: Path) -> Any:
    """Return what a file answers to a question; `answer` is what the file does then.

    Raises:
        AssertionError: it failed; the message is the end of its log.
    """
    from mistral_dev.images import engine  # not there in the engine's environment

    done = subprocess.run(
        [engine.engine() / "bin" / "python", file, *arguments],
        input=json.dumps(question),
        env=engine.environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def answer(work: Callable[[Any], object], default: Callable[[Any], object] | None = None) -> None:
    """Answer the question on the standard output, which vLLM's own log must not reach.

    Args:
        work: from the question to the answer.
        default: from a part of the answer that JSON does not have to one that it has.
    """
    answers = sys.stdout
    sys.stdout = sys.stderr
    json.dump(work(json.load(sys.stdin)), answers, default=default)
