"""The format of a line in vLLM's log, and which levels can show a cause. Pure."""

import re

RECORD = re.compile(
    r"(?:\((?P<process>\w+)[^)]*\) )?"
    r"(?:(?P<level>[A-Z]+) \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\] ?)?"
    r"(?P<text>.*)",
    re.DOTALL,
)
"""Process, level and text of a line; process and level are optional. Every line matches."""

HARMLESS = frozenset({"INFO", "WARNING", "DEBUG"})
"""Levels whose records may quote an exception: every log warns of a possible OSError [Errno 24]."""

EVIDENCE_CHARACTERS = 1000
"""Maximum length of evidence in a report."""
