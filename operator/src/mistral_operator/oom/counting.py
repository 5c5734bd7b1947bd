"""Count each memory failure once: across operators, leaders and deleted pods. Pure."""

from collections.abc import Iterable

from mistral_operator.api import Oom, OomEvent, OomTotal
from mistral_operator.api.oom_status import MAX_COUNTED, MAX_EVENTS
from mistral_operator.oom.failures import Failure
from mistral_server.contract import MEMORY_FAILURES, public_text

_EVIDENCE_CHARACTERS = 400
_PHASE_CHARACTERS = 64


def record(oom: Oom, failures: Iterable[Failure]) -> tuple[Oom, list[Failure]]:
    """Return the history with the new failures, and the new failures.

    Args:
        oom: the history so far.
        failures: every explained failure that is still visible, or was on a pod that was deleted.
    """
    visible = {one.identity: one for one in failures}
    counted = {identity for identity in oom.counted if identity in visible}
    uncounted = [one for identity, one in visible.items() if identity not in counted]
    # More than a status holds are not counted at all: each would count again at every pass.
    new = uncounted[: MAX_COUNTED - len(counted)]
    memory = [one for one in new if one.failure in MEMORY_FAILURES]
    updated = oom.model_copy(
        update={
            # A pod never comes back, so the list shrinks, but that alone is not worth a write.
            "counted": sorted(counted | {one.identity for one in new}) if new else oom.counted,
            "totals": _totals(oom.totals, memory),
            "events": [*oom.events, *map(_event, memory)][-MAX_EVENTS:],
        }
    )
    return updated, new


def _totals(before: list[OomTotal], new: list[Failure]) -> list[OomTotal]:
    counts = {one.failure: one.count for one in before}
    for one in new:
        counts[one.failure] = counts.get(one.failure, 0) + 1
    return [OomTotal(failure=name, count=count) for name, count in sorted(counts.items())]


def _event(failure: Failure) -> OomEvent:
    return OomEvent(
        failure=failure.failure,
        pod=failure.pod,
        phase=public_text(failure.phase, _PHASE_CHARACTERS),
        evidence=public_text(failure.evidence, _EVIDENCE_CHARACTERS),
        time=failure.time,
    )
