"""Checks of what the operator reports, such as a hub that cannot be reached. Pure."""

from collections.abc import Iterator

from mistral_operator.api import ConditionType
from mistral_operator.api.parsed_status import parse_status
from mistral_operator.kube.names import KIND
from mistral_operator.plugin.columns import seconds_between
from mistral_operator.plugin.doctor.snapshot import Finding, Snapshot, name_of

_REPORT_SECONDS = 60
"""An operator reports on a new resource within a few seconds."""


def unreported(snapshot: Snapshot) -> Iterator[Finding]:
    """Find resources on which no operator reports."""
    for body in snapshot.resources or ():
        created = body["metadata"].get("creationTimestamp", "")
        elapsed = seconds_between(created, snapshot.now)
        if parse_status(body.get("status")).status.conditions or (elapsed or 0) < _REPORT_SECONDS:
            continue
        yield Finding(
            name_of(KIND, body),
            "no operator has reported on it",
            "check that an operator runs and watches the namespace",
        )


def degraded(snapshot: Snapshot) -> Iterator[Finding]:
    """Find endpoints that will not recover by themselves."""
    for body in snapshot.resources or ():
        conditions = {one.type: one for one in parse_status(body.get("status")).status.conditions}
        one = conditions.get(ConditionType.DEGRADED)
        if one is not None and one.status == "True":
            yield Finding(
                name_of(KIND, body),
                f"{one.reason}: {one.message}",
                f"kubectl msd status {body['metadata']['name']}"
                f" -n {body['metadata'].get('namespace', '')}",
            )
