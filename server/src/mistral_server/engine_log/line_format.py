"""Write the engine's lines in the format of the pod's other ones.

vLLM, uvicorn, libraries and tracebacks have five formats, without a year or a zone. The observer of
``output`` reads each line as it was.
"""

import json
import re
import time
from collections.abc import Callable
from typing import Literal

from mistral_server.contract.public_log import TIME
from mistral_server.engine_log.log_record import RECORD

_UVICORN = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL): +")
_OF_A_REQUEST = '{"time":"'
"""The gate's lines are JSON, with a time."""


class LineFormat:
    """Formats lines one after the other: one without a level has that of the line before."""

    def __init__(self, kind: Literal["Text", "JSON"], now: Callable[[], float] = time.time) -> None:
        self._as_json = kind == "JSON"
        self._now = now
        self._level = "INFO"

    def __call__(self, line: str) -> bytes:
        """Return a line of the engine with time, level and its end."""
        if line.startswith(_OF_A_REQUEST):
            return f"{line}\n".encode()
        match = RECORD.fullmatch(line)
        process, level, text = match.groups() if match else (None, None, line)
        if level is None and (other := _UVICORN.match(text)):
            level, text = other[1], text[other.end() :]
        self._level = level or self._level
        at = time.strftime(TIME, time.localtime(self._now()))
        if not self._as_json:
            source = f"vllm({process})" if process else "vllm"
            return f"{at} {self._level:<7} {source}: {text}\n".encode(errors="replace")
        entry = {"time": at, "level": self._level.lower(), "logger": "vllm", "message": text}
        if process:
            entry["process"] = process
        return f"{json.dumps(entry)}\n".encode()
