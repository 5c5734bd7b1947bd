"""Where a Python process spends its time: a py-spy record of its main thread, summed by packages.

In vLLM's API process the main thread runs the event loop: as long as it computes for one request,
no other one's tokens leave.
"""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

RATE = 200
"""Samples a second."""

_STARTS_SECONDS = 30.0

_IDLE = "idle, or in uvloop"
"""uvloop waits and works outside of Python, so frames do not distinguish the two."""
_OTHER = "other"

_WAITS = re.compile(r"/selectors\.py|/asyncio/runners\.py|/uvloop/")

GROUPS = (
    ("gate", r"/mistral_server/"),
    ("vllm detokenizer, output", r"/vllm/v1/engine/(detokenizer|output_processor|logprobs)"),
    ("vllm parser", r"/vllm/(parser|tool_parsers|reasoning)/"),
    ("pydantic, json", r"/(pydantic|pydantic_core|msgspec|orjson|json)/"),
    (
        "tokenization",
        r"/(mistral_common|tokenizers|tiktoken|transformers)/|/vllm/(tokenizers|renderers)/",
    ),
    ("vllm serving", r"/vllm/entrypoints/"),
    ("vllm else", r"/vllm/"),
    ("starlette, fastapi", r"/(starlette|fastapi|prometheus_fastapi_instrumentator)/"),
    ("uvicorn, http", r"/(uvicorn|h11|httptools)/"),
    ("event loop", r"/(asyncio|uvloop)/"),
)
"""Names of groups and the paths of their files; the first that fits counts."""


def recorder(packages: Iterable[str]) -> str | None:
    """Return the path of py-spy: beside the packages, where pieces put it, or on the PATH."""
    beside = [Path(folder, "bin", "py-spy") for folder in packages]
    return next((str(path) for path in beside if path.exists()), shutil.which("py-spy"))


def record(program: str, pid: int, seconds: int, target: Path) -> None:
    """Record a process, also where it waits, and write its stacks.

    The process is not stopped for a sample: that would make the streams late that it sends.

    Raises:
        RuntimeError: py-spy could not record it.
    """
    command = [
        *(program, "record", "--format", "raw", "--rate", str(RATE), "--nonblocking"),
        *("--threads", "--idle", "--full-filenames"),
        *("--duration", str(seconds), "--pid", str(pid), "--output", str(target)),
    ]
    limit = seconds + _STARTS_SECONDS
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    if done.returncode or not target.exists():
        raise RuntimeError(f"py-spy recorded nothing: {done.stderr[-500:]}")


def shares(raw: str) -> dict[str, float]:
    """Return the share of the main thread's samples of each group, the largest first.

    A sample belongs to the group of its innermost frame that has one: what `re` does for a parser
    is the parser's. Pure.

    Args:
        raw: lines of `thread;outermost frame;...;innermost frame count`.
    """
    counts: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        if "MainThread" in thread:
            counts[_group(frames)] += int(count)
    return {group: count / counts.total() for group, count in counts.most_common()}


def _group(frames: list[str]) -> str:
    if frames and _WAITS.search(frames[-1]):
        return _IDLE
    for frame in reversed(frames):
        for name, pattern in GROUPS:
            if re.search(pattern, frame):
                return name
    return _OTHER
