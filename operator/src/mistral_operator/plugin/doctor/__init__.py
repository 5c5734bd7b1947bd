"""`kubectl msd doctor`: what in a cluster keeps endpoints from working. Pure.

Each check takes a `Snapshot` and yields findings. What may not be read is None in a snapshot, and a
check of it finds nothing.
"""

from collections.abc import Callable, Collection, Iterator

from mistral_operator.plugin.doctor.admission import rejected_pods, unanswered_webhooks
from mistral_operator.plugin.doctor.amounts import limit_ranges, quotas
from mistral_operator.plugin.doctor.installation import (
    activator,
    definition,
    lease,
    operator,
    watched_namespaces,
)
from mistral_operator.plugin.doctor.monitoring import pod_monitors
from mistral_operator.plugin.doctor.network import closed_endpoints, closed_operator
from mistral_operator.plugin.doctor.nodes import drivers, gpus, labels, unready
from mistral_operator.plugin.doctor.references import secrets, storage_classes
from mistral_operator.plugin.doctor.reported import degraded, unreported
from mistral_operator.plugin.doctor.snapshot import Finding, Snapshot
from mistral_operator.plugin.doctor.taints import taints

Check = Callable[[Snapshot], Iterator[Finding]]

ALL_CHECKS: tuple[Check, ...] = (
    definition,
    operator,
    lease,
    watched_namespaces,
    activator,
    closed_operator,
    gpus,
    labels,
    drivers,
    unready,
    taints,
    storage_classes,
    secrets,
    quotas,
    limit_ranges,
    unanswered_webhooks,
    rejected_pods,
    closed_endpoints,
    pod_monitors,
    unreported,
    degraded,
)
"""In the order in which causes are worth correcting: the installation, the nodes, the namespace."""

__all__ = ["ALL_CHECKS", "Finding", "Snapshot", "all_clear", "diagnose"]


def diagnose(snapshot: Snapshot) -> list[Finding]:
    """Return all findings."""
    return [finding for check in ALL_CHECKS for finding in check(snapshot)]


def all_clear(snapshot: Snapshot, notes: Collection[str]) -> str:
    """Return the sentence for a diagnosis without findings.

    Args:
        snapshot: what was diagnosed.
        notes: what could not be read.
    """
    scope = " in what you may read" if notes else ""
    if snapshot.resources is None:
        scope += f"; the endpoints of namespace {snapshot.namespace} could not be read"
    elif not snapshot.resources:
        scope += f"; namespace {snapshot.namespace} has no endpoints"
    installed = {
        True: "",
        False: "; the operator is not installed",
        None: "; whether the operator is installed is not known",
    }[snapshot.is_installed]
    return f"no problems found{scope}{installed}"
