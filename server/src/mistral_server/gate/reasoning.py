"""Whether the model knows how much to reason, from the version of its tokenizer.

Agents send `reasoning_effort` to every model. vLLM rejects most values for a model of Mistral, and
ignores the others if the format of the model has none.
"""

import re
from pathlib import Path

EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
"""Values of OpenAI's API and of vLLM's; the engine rejects others."""

_FILE = "tekken.json"
_HEAD_BYTES = 64 * 1024
"""Part of the file that is read: its configuration comes before the vocabulary of 15 MB."""
_VERSION = re.compile(rb'"version"\s*:\s*"v(\d{1,4})"')
_FIRST = 15
"""First version of the format with an effort (mistral-common: `ModelSettings` needs v15)."""


def lacks_effort(model: str) -> bool:
    """Return whether a model surely has no reasoning effort.

    Args:
        model: directory of its files.
    """
    try:
        with (Path(model) / _FILE).open("rb") as file:
            match = _VERSION.search(file.read(_HEAD_BYTES))
    except OSError:
        return False
    return match is not None and int(match[1]) < _FIRST
