"""Hostile requests: each is refused in the shape of OpenAI's errors and counted."""

from collections import Counter
from typing import Any

import pytest

from gate_engine import Counted, FakeEngine, ask, gate
from hostile_requests import Attack, attacks
from mistral_server.contract import LimitSettings
from mistral_server.gate.metrics import REFUSAL_REASONS

ATTACKS = attacks()


def test_the_attacks_are_many_and_no_two_have_one_title() -> None:
    titles = Counter(one.title for one in ATTACKS)

    assert len(ATTACKS) >= 200
    assert [title for title, count in titles.items() if count > 1] == []


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.title)
async def test_an_attack_is_refused_and_counted(
    configure: Any, attack: Attack, caplog: pytest.LogCaptureFixture
) -> None:
    engine = FakeEngine()
    with Counted() as counted:
        got = await ask(gate(engine), attack.body, attack.path, headers=attack.headers)

    assert (got.status, counted.moved()) == (
        attack.status,
        {f"requests_refused_total{{reason={attack.reason}}}": 1},
    )
    error = got.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].endswith(".")
    assert engine.bodies == []
    assert "canary-prompt" not in error["message"] + caplog.text
    if attack.reason in LimitSettings.model_fields:
        assert f"(limit {attack.reason} of this endpoint)." in error["message"]


def test_every_reason_of_a_body_has_an_attack() -> None:
    others = {
        *("api_key", "endpoint", "path", "body_seconds", "head_seconds", "received_bytes"),
        *("speculation", "system_prompt"),
    }

    assert {one.reason for one in ATTACKS} == set(REFUSAL_REASONS) - others
