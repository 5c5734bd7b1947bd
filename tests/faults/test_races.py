"""Edits that race with the operator's status writes, on watches that are late, are all acted on."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fault_api import Api, until
from fault_exchange import Exchange, Fault, ProxyResponse
from fault_lane import Lane, lane
from fault_proxy_watches import RepeatedEvents
from fault_selection import is_exhaustive
from mistral_operator.kube import kinds

ENDPOINTS = 10
EDITS = 100
"""For each endpoint."""
SAMPLE = 2
STALLED_SECONDS = 60.0


@dataclass
class EditAtStatus(Fault):
    """Edit a resource right before or after each write of its status.

    The next such write is the one that the edit leads to, so a lost edit ends the chain.
    """

    edit: Callable[[str, int], Awaitable[None]]
    limit: int
    edits: Counter[str] = field(default_factory=Counter)
    _chance: random.Random = field(default_factory=lambda: random.Random(1))
    _before: set[int] = field(default_factory=set)

    async def before(self, exchange: Exchange) -> ProxyResponse | None:
        """Edit before the write, half of the time."""
        if _is_status(exchange) and self._chance.random() < 0.5:
            self._before.add(exchange.number)
            await self._edit(exchange)
        return None

    async def after(self, exchange: Exchange, response: ProxyResponse) -> ProxyResponse:
        """Edit after the write, before its response arrives."""
        if _is_status(exchange) and exchange.number not in self._before:
            await self._edit(exchange)
        return response

    async def _edit(self, exchange: Exchange) -> None:
        if self.edits[exchange.name] < self.limit:
            self.edits[exchange.name] += 1
            await self.edit(exchange.name, self.edits[exchange.name])


def _is_status(exchange: Exchange) -> bool:
    return exchange.kind == f"{kinds.RESOURCE.plural}/status"


@pytest.mark.timeout(1200)
async def test_edits_that_race_with_status_writes_are_all_acted_on(
    api: Api, tmp_path: Path, request: pytest.FixtureRequest, row: Callable[[object], None]
) -> None:
    limit = EDITS if is_exhaustive(request) else SAMPLE
    endpoints = [f"small-{number}" for number in range(ENDPOINTS)]
    async with lane(api, "race", tmp_path) as made:

        async def edit(name: str, number: int) -> None:
            oom = {"quietSeconds": 600 + number}
            await made.edit({"oom": oom, "networkPolicy": number % 2 == 0}, name)

        race, late = EditAtStatus(edit, limit), RepeatedEvents(1, 0.5)
        with made.proxy.fault(race, late):
            for name in endpoints:
                await made.create(
                    {"device": "cpu", "engine": {"kvCache": {"memory": "64Mi"}}}, name
                )
            await until_edited(made, race, limit * ENDPOINTS)

        async def all_observed() -> bool:
            return all([await is_observed(made, name, limit) for name in endpoints])

        await until(all_observed, "the last edits", STALLED_SECONDS)
        row(f"{race.edits.total()} edits raced with status writes: 0 lost")
        assert race.edits == Counter(dict.fromkeys(endpoints, limit))
        assert made.operator.tracebacks == 0


async def until_edited(made: Lane, race: EditAtStatus, total: int) -> None:
    """Wait for the last edit, as long as edits go on."""
    while (edits := race.edits.total()) < total:

        async def goes_on(edits: int = edits) -> bool:
            return race.edits.total() > edits

        await until(goes_on, f"edit {edits + 1}; {made.operator.log}", STALLED_SECONDS)
        await asyncio.sleep(0)


async def is_observed(made: Lane, name: str, limit: int) -> bool:
    """Return whether the last edit of an endpoint was acted on."""
    body = await made.get(name=name)
    policy = await made.get(kinds.NETWORK_POLICY, name)
    return bool(
        body["metadata"]["generation"] == limit + 1
        and body.get("status", {}).get("observedGeneration") == limit + 1
        and (policy != {}) == (limit % 2 == 0)
    )
