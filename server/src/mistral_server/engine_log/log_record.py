"""The shape of a line in vLLM's log, and what of it can show a cause. Pure."""

import re

RECORD = re.compile(
    r"(?:\((?P<process>\w+)[^)]*\) )?"
    r"(?:(?P<level>[A-Z]+) \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\] ?)?"
    r"(?P<text>.*)",
    re.DOTALL,
)
"""A line: the process and the level where they stand, and the rest. Every line matches."""

HARMLESS = frozenset({"INFO", "WARNING", "DEBUG"})
"""Levels whose records may quote an exception: every log warns of a possible OSError [Errno 24]."""

EVIDENCE_CHARACTERS = 1000
"""As much of a line as a report has room for."""
