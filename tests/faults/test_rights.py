"""A missing right is reported, and the operator continues once it is granted."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fault_api import Api, until
from fault_lane import NAME, Lane, lane
from fault_rights import Rights, chart_rules, without
from fault_selection import selected
from mistral_dev.cluster import Cluster
from mistral_operator.kube import kinds
from mistral_operator.kube.kinds import Kind
from operator_rights import Right

LANES = 4
REPORTED_SECONDS = 45.0
RESTORED_SECONDS = 90.0
"""A key that failed for 45 s waits up to 48 s more."""


def right(kind: Kind, verb: str, subresource: str = "") -> Right:
    """Return a right on a kind."""
    return kind.group, kind.plural + (f"/{subresource}" if subresource else ""), verb


RIGHTS = {
    right(kinds.RESOURCE, "list"): None,
    right(kinds.RESOURCE, "watch"): None,
    right(kinds.RESOURCE, "patch", "status"): None,
    right(kinds.POD, "list"): None,
    right(kinds.NODE, "list"): None,
    right(kinds.NODE, "watch"): None,
    right(kinds.SERVICE, "list"): None,
    right(kinds.SERVICE, "watch"): None,
    right(kinds.SERVICE, "patch"): None,
    right(kinds.SERVICE, "create"): None,
    right(kinds.NETWORK_POLICY, "delete"): None,
    right(kinds.DEPLOYMENT, "patch"): None,
    right(kinds.EVENT, "create"): None,
    right(kinds.EVENT, "list"): None,
    right(kinds.EVENT, "patch"): None,
    ("coordination.k8s.io", "leases", "get"): None,
    ("coordination.k8s.io", "leases", "update"): None,
}
TO_COUNT = {right(kinds.EVENT, "list"), right(kinds.EVENT, "patch")}
"""The rights that an Event needs only if it happens again."""


@dataclass
class Missing:
    """An operator without one right.

    Args:
        right: which.
    """

    right: Right
    reported_seconds: float = -1.0
    restored_seconds: float = -1.0
    tracebacks: int = 0
    exits: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    async def play(self, made: Lane, rights: Rights) -> None:
        """Revoke the right, need it, and restore it."""
        await made.create()
        await made.settle(made.is_ready)
        if self.right in TO_COUNT:
            await _suspend_once(made)
        await rights.take(self.right)
        started = time.monotonic()
        made.operator.kill()
        await made.api.delete(kinds.SERVICE, made.namespace, NAME)
        await made.edit({"networkPolicy": False, "suspend": True})
        self.reported_seconds = await until(
            lambda: self._is_reported(made), "a report", REPORTED_SECONDS
        )
        await asyncio.sleep(max(0.0, 15 + started - time.monotonic()))
        await rights.give_back()
        self.restored_seconds = await made.settle(lambda: _is_restored(made), RESTORED_SECONDS)
        self.tracebacks = made.operator.tracebacks
        self.exits = [*made.operator.exits]

    async def _is_reported(self, made: Lane) -> bool:
        _, resource, verb = self.right
        sentence = f'cannot {verb} resource "{resource}"'
        condition = await made.condition()
        return sentence in condition.get("message", "") + made.operator.log.read_text()

    def __str__(self) -> str:
        """Return a row of the table."""
        _, resource, verb = self.right
        return (
            f"{verb:<7}{resource:<30} reported {self.reported_seconds:5.1f} s  restored"
            f" {self.restored_seconds:5.1f} s  exits {self.exits}  tracebacks {self.tracebacks}"
        )


async def _suspend_once(made: Lane) -> None:
    await made.edit({"suspend": True})
    await made.settle(lambda: _is_suspended(made))
    await made.edit({"suspend": False})
    await made.settle(made.is_ready)


async def _is_suspended(made: Lane) -> bool:
    return (await made.condition()).get("reason") == "Suspended"


async def _is_restored(made: Lane) -> bool:
    service, policy = await made.get(kinds.SERVICE), await made.get(kinds.NETWORK_POLICY)
    return service != {} and policy == {} and await _is_suspended(made)


async def play(cluster: Cluster, directory: Path, every: list[Missing]) -> None:
    """Revoke rights, several at a time, each from an operator of its own."""
    free = asyncio.Semaphore(LANES)

    async def one(api: Api, number: int, missing: Missing) -> None:
        name = f"rights-{number}"
        rights = Rights(api, name)
        token = await rights.grant()
        settings = {"LEADER_ELECTION": "true", "NAMESPACE": name, "IDENTITY": name}
        async with free, lane(api, name, directory, token=token, **settings) as made:
            made.operator.restart_seconds = 2.0
            try:
                await missing.play(made, rights)
            except Exception as error:
                missing.failures.append(f"{type(error).__name__}: {error}; {made.operator.log}")

    async with Api(cluster) as api:
        await asyncio.gather(*(one(api, *each) for each in enumerate(every)))


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> dict[Right, Missing]:
    """Revoke the right of every selected test."""
    every = [Missing(one) for one in RIGHTS if one in selected(request, "missing")]
    asyncio.run(play(cluster, tmp_path_factory.mktemp("rights"), every))
    return {one.right: one for one in every}


def case(one: Right, reason: str | None) -> object:
    """Return a parameter, with the reason if the test fails today."""
    marks = [] if reason is None else [pytest.mark.xfail(strict=True, reason=reason)]
    return pytest.param(one, id=f"{one[2]} {one[1]}", marks=marks)


@pytest.mark.exhaustive
@pytest.mark.parametrize("missing", [case(*one) for one in RIGHTS.items()])
def test_a_missing_right_is_reported_and_work_continues_once_it_is_granted(
    played: dict[Right, Missing], missing: Right, row: Callable[[object], None]
) -> None:
    result = played[missing]
    row(result)
    assert not result.failures, "\n".join(result.failures)
    assert result.tracebacks == 0
    assert set(result.exits) <= {-9, 1}
    may_exit = missing[2] in {"list", "watch"} or missing[1] == "leases"
    assert may_exit or result.exits == [-9]


def test_the_chart_grants_each_of_these_rights() -> None:
    rules = chart_rules()
    for one in RIGHTS:
        assert without(rules, one) != rules, one
