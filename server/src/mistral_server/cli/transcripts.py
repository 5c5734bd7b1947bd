"""Evaluate transcripts in files: ``detect-loop`` and ``check-tool-call``.

Uses the same code as the gate.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from mistral_server.cli.json_lines import UNREADABLE, open_binary, print_lines, report_error
from mistral_server.contract import LoopSettings
from mistral_server.gate import response
from mistral_server.gate.loops import (
    CounterLoopDetector,
    LoopDetector,
    LoopRule,
    as_symbols,
)
from mistral_server.gate.observer import Observer
from mistral_server.gate.request import RequestOptions, parse_options
from mistral_server.gate.stream import Stream

__all__ = ["LoopRule", "check_tool_calls", "detect_loops"]


def detect_loops(files: Sequence[Path], rule: LoopRule) -> int:
    """Print one line per file and return the exit code."""
    return print_lines(files, lambda file: _evaluate_loop(file.read(), rule))


def check_tool_calls(request: Path, responses: Sequence[Path]) -> int:
    """Print one line per response and return the exit code."""
    try:
        with open_binary(request) as content:
            options = parse_options(content.read(), chat=True, loops="Off")
    except UNREADABLE as error:
        return report_error(request, f"not a chat request: {error}")
    return print_lines(responses, lambda file: _evaluate_calls(options, file.read()))


def _evaluate_loop(content: bytes, rule: LoopRule) -> dict[str, Any]:
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
        "repetitions": loop.repetitions if loop is not None else None,
        "onset": loop.onset if loop is not None else None,
        "tokens": len(symbols),
        "unit": "token" if ids is not None else "character",
        "wasted": exact.wasted,
    }


def _token_ids(content: bytes) -> list[int] | None:
    """Return the token ids of a JSON list, or None if the content is text."""
    try:
        ids = msgspec.json.decode(content, type=list[int])
        as_symbols(ids)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError):
        return None
    return ids


def _evaluate_calls(options: RequestOptions, content: bytes) -> dict[str, Any]:
    # The body shows whether it was streamed.
    streamed = not content.lstrip().startswith((b"{", b"["))
    observer = Observer(replace(options, stream=streamed), LoopSettings(action="Off"))
    if streamed:
        _read_stream(content, observer)
    else:
        response.observe(content, observer)
    evaluated = observer.tool_call_results()
    if evaluated is None:
        reason = (
            "the request offers no tools"
            if options.tools is None
            else "the response is not complete"
        )
        raise ValueError(reason)
    calls, outcome = evaluated
    return {
        "calls": [{"name": call.name, "outcome": call.outcome.value} for call in calls],
        "request_outcome": outcome.value,
    }


def _read_stream(content: bytes, observer: Observer) -> None:
    stream = Stream(observer, accurate_finish=False)
    # Editors change line ends and drop the empty line after the last event.
    stream.feed(content.replace(b"\r\n", b"\n").strip() + b"\n\n")
    if stream.unreadable or not observer.generations:
        raise ValueError("neither JSON nor the `data:` events of a stream")
