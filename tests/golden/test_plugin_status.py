"""What `kubectl msd status` prints in each state of docs/status.md."""

import pytest

from builders import NOW
from golden_cases import GOLDEN
from mistral_operator.plugin.endpoint_text import endpoint_text
from mistral_operator.plugin.next_steps import STEPS
from plugin_endpoints import SPECIAL, by_reason

FILE = GOLDEN / "plugin-status.txt"
HEAD = "What `kubectl msd status` prints, by the reason of Ready, and in some other states.\n"


def text() -> str:
    states = [
        *((f"{reason}: {name}", one, ()) for reason, (name, one) in sorted(by_reason().items())),
        *SPECIAL,
    ]
    parts = [
        f"{'=' * 80}\n{title}\n{'=' * 80}\n{endpoint_text(one, notes, NOW)}\n"
        for title, one, notes in states
    ]
    return "\n".join([HEAD, *parts])


def test_every_state_is_printed_as_it_was_reviewed(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden", default=False):
        FILE.write_text(text())

    assert FILE.exists(), "`pytest tests/golden --update-golden` writes it"
    assert text() == FILE.read_text(), (
        "review the difference, then `pytest tests/golden --update-golden` writes the file"
    )


def test_every_reason_of_ready_has_a_state() -> None:
    assert by_reason().keys() == STEPS.keys()
