"""``classify``: why engines ended, from the files of their logs."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mistral_server.classify import Classifier

_STDIN = Path("-")


def classify_files(files: Sequence[Path]) -> int:
    """Print a line for each log; return 1 if one could not be read, else 0."""
    code = 0
    for file in files or [_STDIN]:
        try:
            line = _classified(file)
        except OSError as error:
            sys.stderr.write(f"{file}: {error}\n")
            code = 1
        else:
            sys.stdout.write(json.dumps({"file": str(file), **line}) + "\n")
    return code


def _classified(file: Path) -> dict[str, Any]:
    if file == _STDIN:
        return _read(sys.stdin.buffer)
    with file.open("rb") as lines:
        return _read(lines)


def _read(lines: Iterable[bytes]) -> dict[str, Any]:
    classifier = Classifier()
    for line in lines:
        classifier.read(line.decode(errors="replace"))
    verdict = classifier.verdict()
    if verdict is None:
        return {"class": None, "phase": None, "evidence": "", "suggest": {}}
    return {
        "class": verdict.failure.value,
        "phase": verdict.phase,
        "evidence": verdict.evidence,
        "suggest": verdict.suggest,
    }
