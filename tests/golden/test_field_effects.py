"""Each field of the spec changes what it is for in the children, and nothing else."""

import re

import pytest

from field_effects import effects
from golden_cases import GOLDEN
from mistral_dev.paths import CHECKOUT
from mistral_operator.api.restarts import KEEP_PODS, restarts_pods

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


_OF_PODS = ("pod ", "settings ", "Deployment.spec.template.")


def test_the_description_of_a_field_says_whether_a_change_restarts_the_pods() -> None:
    for field, paths in effects():
        restarts = any(path.startswith(_OF_PODS) for path in paths)
        assert restarts_pods(field.replace("[0]", "")) == restarts, field


def test_the_documentation_names_the_fields_that_restart_no_pod() -> None:
    document = " ".join((CHECKOUT / "docs" / "pods.md").read_text().split())
    sentence = document.partition("These fields do not change it:")[2].partition(". All others")[0]

    assert sorted(re.findall(r"`([^`]+)`", sentence)) == sorted(KEEP_PODS)
