"""What an older operator sent to the API server, and the cluster that it leaves behind.

Run as a program, this module records the operator of its checkout into `RECORD`.
"""

import asyncio
import json
from typing import Any

from builders import Object
from mistral_dev.paths import CHECKOUT
from mistral_operator.kube import kinds, names
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Key
from operator_life import KEY, Life, lives
from operator_scenarios import SCENARIOS
from virtual_time import run

RECORD = CHECKOUT / "tests" / "data" / "older-operator.json"
RECORDED = (
    "create",
    "scale by edit",
    "autoscale under load",
    "remedy",
    "remedy that does not help",
    "stop",
    "scale to zero",
)
"""Recorded scenarios: together they have every kind of decision."""


class Recorder:
    """Keeps the last apply of every object, and of every status."""

    def __init__(self, life: Life) -> None:
        self._objects = life.objects
        self._apply = life.objects.apply
        self._applied: dict[tuple[Kind, Key, bool], Object] = {}
        life.objects.apply = self.apply  # type: ignore[method-assign]  # it listens in

    def apply(self, kind: Kind, key: Key, desired: Object, *, status: bool, **how: Any) -> Object:
        """Apply an object, and keep what was sent."""
        # Preconditions hold in the cluster that was recorded, and in no other.
        metadata = {
            name: value
            for name, value in desired["metadata"].items()
            if name not in {"uid", "resourceVersion"}
        }
        self._applied[kind, key, status] = {**desired, "metadata": metadata}
        return self._apply(kind, key, desired, status=status, **how)

    def applied(self) -> list[Object]:
        """Return the applies of objects that still exist."""
        return [
            desired
            for (kind, key, _), desired in self._applied.items()
            if self._objects.find(kind, key) is not None
        ]


async def recorded(name: str, life: Life) -> Object:
    """Play a scenario; return the resource at its end, and what was applied meanwhile."""
    scenario, recorder = SCENARIOS[name], Recorder(life)
    life.activators, life.load = scenario.activators, scenario.load
    if scenario.spec is not None:
        life.create(scenario.spec)
    await life.settle()
    await scenario.act(life)
    resource = life.objects.get(kinds.RESOURCE, KEY)
    return {
        "spec": resource["spec"],
        "load": dict(life.load),
        "activators": list(life.activators),
        "reason": life.reason(),
        "applied": recorder.applied(),
    }


async def leave_behind(life: Life, record: Object) -> None:
    """Bring a cluster into the state in which the older operator left it an hour ago."""
    life.activators, life.load = tuple(record["activators"]), record["load"]
    life.create(record["spec"])
    for desired in record["applied"]:
        kind = kinds.kind_of(desired["apiVersion"], desired["kind"])
        metadata, status = desired["metadata"], "status" in desired
        key = Key(metadata["namespace"], metadata["name"])
        life.objects.apply(
            kind, key, desired, manager=names.FIELD_MANAGER, force=True, status=status
        )
    await asyncio.sleep(3600)


async def _record_all() -> Object:
    async with lives() as make:
        return {name: await recorded(name, make()) for name in RECORDED}


if __name__ == "__main__":
    RECORD.write_text(json.dumps(run(_record_all()), indent=1, sort_keys=True) + "\n")
