"""The health check of docs/gitops.md, run by a Lua 5.1 as Argo CD has one."""

import re
from collections import defaultdict
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime  # type: ignore[import-untyped]

from builders import NOW
from mistral_dev.paths import CHECKOUT
from mistral_operator.api import ConditionType, Reason, Status
from mistral_operator.kube import names
from mistral_operator.status import report
from operator_cluster_situations import CLUSTER_SITUATIONS
from operator_foreign_containers import FOREIGN_CONTAINERS
from operator_pod_situations import POD_SITUATIONS
from status_inputs import condition

SITUATIONS = CLUSTER_SITUATIONS | POD_SITUATIONS | FOREIGN_CONTAINERS
NOT_SEEN = ("Progressing", "the operator has not seen this version yet")


def config_map_entry() -> tuple[str, str]:
    """Return the key of the ConfigMap in docs/gitops.md, and the script below it."""
    text = (CHECKOUT / "docs" / "gitops.md").read_text()
    (block,) = re.findall(r"^```yaml\n(resource\.customizations.*?)^```", text, re.M | re.S)
    ((key, script),) = yaml.safe_load(block).items()
    return key, script


def health(status: Any, generation: int = 1) -> tuple[str, str]:
    """Return the health and the message that the script finds in a status."""
    lua = LuaRuntime(register_builtins=False)
    live: dict[str, Any] = {"metadata": {"generation": generation}}
    if status is not None:
        live["status"] = status
    # Argo CD opens few libraries: the script gets a function of the base library, and no more.
    run = lua.eval("function(script, globals) return setfenv(loadstring(script), globals)() end")
    obj = lua.table_from(live, recursive=True)
    script = config_map_entry()[1]
    result = run(script, lua.table_from({"obj": obj, "ipairs": lua.globals().ipairs}))
    return result["status"], result["message"]


def written(status: Status) -> dict[str, Any]:
    """Return a status as the operator writes it."""
    return status.model_dump(by_alias=True, exclude_none=True, mode="json")


HEALTH = {
    "Healthy": {Reason.READY, Reason.ASLEEP},
    "Suspended": {Reason.SUSPENDED, Reason.SCALED_TO_ZERO, Reason.PAUSED},
    "Progressing": {
        *(Reason.CREATING, Reason.FETCHING, Reason.STARTING, Reason.NOT_READY),
        Reason.PREFETCHING,
        Reason.PREPULLING,
        *(Reason.SCALING_UP, Reason.ROLLING_OUT),
        Reason.UNSCHEDULABLE,  # an autoscaler of nodes, or another pod that ends, may help
    },
    "Degraded": {
        *(Reason.INVALID_RESOURCE, Reason.NAME_TAKEN, Reason.APPLY_FAILED, Reason.POD_REJECTED),
        *(Reason.CONFIG_MAP_MISSING, Reason.CONFIG_MISSING, Reason.POD_NOT_SET_UP),
        *(Reason.CLAIM_MISSING, Reason.CLAIM_PENDING, Reason.CLAIM_DIFFERS),
        *(Reason.NO_FITTING_NODE, Reason.UNSCHEDULABLE, Reason.DOES_NOT_FIT),
        *(Reason.IMAGE_UNAVAILABLE, Reason.FETCH_FAILED, Reason.SERVER_FAILED, Reason.CRASH_LOOP),
        *(Reason.ACTIVATOR_MISSING, Reason.NO_PORT, Reason.REPLICAS_CONTESTED),
    },
}
"""The reasons of Ready, by the health that Argo CD shows."""


def test_the_key_is_that_of_the_resource() -> None:
    assert config_map_entry()[0] == f"resource.customizations.health.{names.GROUP}_{names.KIND}"


def test_the_health_of_every_reason_is_this() -> None:
    healths = defaultdict(set)
    for case, *_ in SITUATIONS.values():
        status = report(case, NOW)
        ready = next(one for one in status.conditions if one.type == ConditionType.READY)
        shown, message = health(written(status))
        assert message == f"{ready.reason}: {ready.message}"
        healths[shown].add(Reason(ready.reason))

    assert healths == HEALTH


OF_THE_LAST_VERSION = written(Status(conditions=[condition(status="True", reason=Reason.READY)]))
UNSEEN: dict[str, tuple[Any, int]] = {
    "no status": (None, 1),
    "an empty one": ({}, 1),
    "no conditions": ({"observedGeneration": 1}, 1),
    "an empty list": ({"conditions": []}, 1),
    "ready in the version before": (OF_THE_LAST_VERSION, 2),
    "a condition of another controller": ({"conditions": [{"type": "Ready", "status": "True"}]}, 1),
}


@pytest.mark.parametrize(("status", "generation"), UNSEEN.values(), ids=UNSEEN)
def test_what_the_operator_has_not_seen_is_progressing(status: Any, generation: int) -> None:
    assert health(status, generation) == NOT_SEEN


def test_a_condition_may_have_no_message() -> None:
    one = {"type": "Ready", "status": "True", "reason": "Ready", "observedGeneration": 1}

    assert health({"conditions": [one]}) == ("Healthy", "Ready: ")
