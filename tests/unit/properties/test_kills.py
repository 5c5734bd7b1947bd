"""Killed before or after any single write, the operator's successor ends in the same state.

And it creates and deletes no more than an operator that is not killed. Afterwards it has nothing to
do, so that neither an idle period nor a restart costs a write. `operator_kills` checks all of it.
"""

import pytest

from mistral_operator.api import Status
from mistral_operator.control.desired import Desired
from mistral_operator.control.reconciler import Reconciler
from mistral_operator.kube.objects import Key
from operator_kills import differences
from operator_life import Life, lives
from operator_scenarios import SCENARIOS, Scenario
from virtual_time import run


class Forgetful(Reconciler):
    """Acts on its decisions before they are recorded."""

    async def _record(self, key: Key, desired: Desired, previous: Status) -> Status:
        self._dependencies.store.forget_deleted_pods(key, desired.deleted_pods)
        return previous


def played(scenario: Scenario, reconciler: type[Reconciler] = Reconciler) -> list[str]:
    """Play a scenario, killing the operator at every write; return what differs."""

    async def play() -> list[str]:
        async with lives() as make:

            def life() -> Life:
                made = make()
                made.reconciler = reconciler
                return made

            return await differences(scenario, life)

    return run(play())


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_an_operator_that_is_killed_at_any_write_changes_nothing(scenario: Scenario) -> None:
    assert played(scenario) == []


def test_an_operator_that_acts_before_it_records_is_found_out() -> None:
    problems = played(SCENARIOS["remedy"], Forgetful)

    killed = [one for one in problems if "killed after write" in one]
    assert any("apply Deployment" in one for one in killed), problems
