"""Each field of the spec changes what it is for in the children, and nothing else."""

import pytest

from field_effects import effects
from golden_cases import GOLDEN

HEAD = """\
# Each field of the spec, and what changes in the children when its value changes. `settings` are
# those of the server. What changes nothing is used by the operator itself, while the endpoint runs.
"""
FILE = GOLDEN / "field-effects.txt"


def test_every_field_changes_what_was_reviewed_and_nothing_else(
    request: pytest.FixtureRequest,
) -> None:
    lines = [HEAD]
    for field, paths in effects():
        lines += [f"{field}:", *(f"  {path}" for path in paths or ["nothing"])]
    text = "\n".join(lines) + "\n"
    if request.config.getoption("--update-golden", default=False):
        FILE.write_text(text)

    assert FILE.exists(), "`pytest tests/golden --update-golden` writes it"
    assert text == FILE.read_text(), (
        "review the difference, then `pytest tests/golden --update-golden` writes the file"
    )
