"""An operator that is upgraded over running endpoints leaves their pods alone.

`tests/data/older-operator.json` holds what an older operator sent; `older_operator` recorded it.
"""

import json
from typing import Any

import pytest

from mistral_operator.kube import kinds
from older_operator import RECORD, RECORDED, leave_behind
from operator_life import KEY, Life, play

RESTARTS = (
    "an upgrade restarts every endpoint: if that is meant, say so in CHANGELOG.md and run"
    " `PYTHONPATH=tests/support .venv/bin/python tests/support/older_operator.py`"
)
RECORDS: dict[str, Any] = json.loads(RECORD.read_text())


def test_every_kind_of_decision_was_recorded() -> None:
    assert sorted(RECORDS) == sorted(RECORDED)
    assert {one["reason"] for one in RECORDS.values()} == {"Ready", "CrashLoop", "Asleep"}


@pytest.mark.parametrize("name", RECORDS)
def test_an_upgraded_operator_keeps_the_deployment_and_its_pods(name: str) -> None:
    async def upgrade(life: Life) -> None:
        await leave_behind(life, RECORDS[name])
        pods = [pod["metadata"]["uid"] for pod in life.pods()]
        generation = life.deployment()["metadata"]["generation"]

        await life.start()
        await life.settle(80)

        written = [str(one) for one in life.api.writes if one.kind in {"Deployment", "Pod"}]
        assert written == [], RESTARTS
        assert [pod["metadata"]["uid"] for pod in life.pods()] == pods
        assert life.deployment()["metadata"]["generation"] == generation
        assert life.reason() == RECORDS[name]["reason"]

    play(upgrade)


@pytest.mark.parametrize("name", RECORDS)
def test_the_crd_of_today_keeps_the_status_of_an_older_operator(name: str) -> None:
    async def look(life: Life) -> None:
        await leave_behind(life, RECORDS[name])
        (sent,) = [one["status"] for one in RECORDS[name]["applied"] if "status" in one]

        assert life.objects.get(kinds.RESOURCE, KEY)["status"] == sent

    play(look)
