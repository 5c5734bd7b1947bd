"""The gate's judgements on files: ``detect-loop`` and ``check-tool-call``.

The same code as in the gate, for people with a transcript in hand. A file that cannot be read is
told on standard error and makes the exit code 1; the others are judged all the same.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mistral_server.contract import LoopSettings
from mistral_server.gate import answer
from mistral_server.gate.loops import (
    CounterLoopDetector,
    LoopDetector,
    LoopRule,
    as_symbols,
)
from mistral_server.gate.observer import Observer
from mistral_server.gate.request import read
from mistral_server.gate.stream import Stream

__all__ = ["LoopRule", "check_tool_calls", "detect_loops"]

_STDIN = Path("-")
_NOT_READ = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OSError, ValueError)


def detect_loops(files: Sequence[Path], rule: LoopRule) -> int:
    """Print a line for each file; return the exit code."""
    return _each(files or [_STDIN], lambda content: _loop_of(content, rule))


def check_tool_calls(request: Path, responses: Sequence[Path]) -> int:
    """Print a line for each answer; return the exit code."""
    try:
        body = _content(request)
        # Whether it was streamed shows in the answer.
        read(body, chat=True, loops="Off")
    except _NOT_READ as error:
        return _complain(request, f"it is not a chat request: {error}")
    return _each(responses, lambda content: _calls_of(body, content))


def _each(files: Iterable[Path], judge: Callable[[bytes], dict[str, Any]]) -> int:
    code = 0
    for file in files:
        try:
            line = {"file": str(file), **judge(_content(file))}
        except _NOT_READ as error:
            code = _complain(file, str(error))
        else:
            sys.stdout.write(json.dumps(line) + "\n")
    return code


def _loop_of(content: bytes, rule: LoopRule) -> dict[str, Any]:
    ids = _token_ids(content)
    text = "" if ids is not None else content.decode(errors="replace")
    symbols = text if ids is None else as_symbols(ids)
    exact = LoopDetector(rule if ids is not None else rule.for_text())
    exact.feed(symbols)
    loop, kind = exact.finish(), "exact"
    if loop is None:
        counter = CounterLoopDetector(rule)
        counter.feed(text)
        loop, kind = counter.finish(), "counter"
    return {
        "looping": loop is not None,
        "kind": kind if loop is not None else None,
        "period": loop.period if loop is not None else None,
        "copies": loop.copies if loop is not None else None,
        "onset": loop.onset if loop is not None else None,
        "tokens": len(symbols),
        "unit": "token" if ids is not None else "character",
        "wasted": exact.wasted,
    }


def _token_ids(content: bytes) -> list[int] | None:
    """Return the ids of a JSON list of them, None for what is a text."""
    try:
        ids = msgspec.json.decode(content, type=list[int])
        as_symbols(ids)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError):
        return None
    return ids


def _calls_of(request: bytes, content: bytes) -> dict[str, Any]:
    streamed = not content.lstrip().startswith((b"{", b"["))
    asked = read(_with_stream(request, streamed=streamed), chat=True, loops="Off")
    observer = Observer(asked, LoopSettings(action="Off"))
    if streamed:
        _read_stream(content, observer)
    else:
        answer.read(content, observer)
    judged = observer.judged()
    if judged is None:
        reason = (
            "the request offers no tools" if asked.tools is None else "the answer is not complete"
        )
        raise ValueError(reason)
    calls, outcome = judged
    return {
        "calls": [{"name": call.name, "outcome": call.outcome.value} for call in calls],
        "request_outcome": outcome.value,
    }


def _read_stream(content: bytes, observer: Observer) -> None:
    stream = Stream(observer, honest=False)
    # Transcripts were through editors: other line ends, a last event without its empty line.
    stream.feed(content.replace(b"\r\n", b"\n").strip() + b"\n\n")
    if stream.unread or not observer.generations:
        raise ValueError("it is neither JSON nor the `data:` events of a stream")


def _with_stream(request: bytes, *, streamed: bool) -> bytes:
    fields = msgspec.json.decode(request, type=dict[str, msgspec.Raw])
    fields["stream"] = msgspec.Raw(b"true" if streamed else b"false")
    return msgspec.json.encode(fields)


def _content(file: Path) -> bytes:
    return sys.stdin.buffer.read() if file == _STDIN else file.read_bytes()


def _complain(file: Path, reason: str) -> int:
    sys.stderr.write(f"{file}: {reason}\n")
    return 1
