"""What `kubectl msd` says to do next can be copied into a terminal as it is."""

from dataclasses import replace

import pytest

from builders import NAMESPACE, NOW
from mistral_operator.api import ConditionType, Reason
from mistral_operator.plugin.endpoint_text import endpoint_text
from mistral_operator.plugin.next_steps import next_steps
from plugin_endpoints import by_reason

COMMANDS = {
    reason: (one, step.command)
    for reason, (_, one) in by_reason().items()
    for step in next_steps(one)
    if step.command
}


def test_some_steps_have_a_command() -> None:
    assert {"Ready", "Suspended", "Asleep", "ServerFailed", "Creating"} <= COMMANDS.keys()


@pytest.mark.parametrize("reason", sorted(COMMANDS))
def test_a_command_names_the_namespace_and_stands_on_a_line_of_its_own(reason: str) -> None:
    endpoint, command = COMMANDS[reason]

    assert command.startswith("kubectl ")
    assert f" -n {NAMESPACE}" in command
    assert f"    {command}" in endpoint_text(endpoint, (), NOW).splitlines()


def test_no_other_step_mentions_a_command() -> None:
    texts = [step.text for _, one in by_reason().values() for step in next_steps(one)]

    assert [one for one in texts if "kubectl" in one] == []


def test_an_edit_that_waits_is_named_although_the_endpoint_is_ready() -> None:
    _, ready = by_reason()["Ready"]
    conditions = [
        one.model_copy(update={"reason": Reason.PAUSED})
        if one.type == ConditionType.PROGRESSING
        else one
        for one in ready.status.conditions
    ]
    paused = replace(ready, status=ready.status.model_copy(update={"conditions": conditions}))

    assert [one.text for one in next_steps(paused)] == [
        "an edit of the pods waits: set spec.rollout.paused to false to roll it out"
    ]
    assert next_steps(ready)[0].text.startswith("nothing")
