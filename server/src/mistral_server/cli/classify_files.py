"""``classify``: classify engine failures from log files."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mistral_server.cli.json_lines import print_lines
from mistral_server.contract.setting_names import with_flags
from mistral_server.engine_log.classify import Classification, Classifier


def classify_files(files: Sequence[Path]) -> int:
    """Print one line per log and return the exit code."""
    return print_lines(files, _classified)


def _classified(lines: Iterable[bytes]) -> dict[str, Any]:
    classifier = Classifier()
    for line in lines:
        classifier.read(line.decode(errors="replace"))
    classification = classifier.classification()
    if classification is None:
        return {"class": None, "phase": None, "evidence": "", "suggest": {}}
    return {
        "class": classification.failure.value,
        "phase": classification.phase.value,
        "evidence": classification.evidence,
        "suggest": {**classification.suggestions, **_advice(classification)},
    }


def _advice(classification: Classification) -> dict[str, str]:
    """Return the advice, with vLLM's flags for use without this server."""
    return {"advice": with_flags(classification.advice)} if classification.advice else {}
