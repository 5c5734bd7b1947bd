"""Every metric of the operator, in one place, with its help text.

Metrics about resources are computed at scrape time from what was last reported, so that a deleted
resource leaves no series behind.
"""

from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mistral_operator.api import Status
from mistral_operator.autoscaling import Decision
from mistral_server.contract import MEMORY_FAILURES

API_REQUESTS = Counter(
    "mistral_operator_api_requests",
    "Requests to the API server, by method and HTTP status.",
    ["method", "status"],
)
WRITES = Counter(
    "mistral_operator_writes",
    "Writes to the cluster, by kind and verb. A steady fleet makes none.",
    ["kind", "verb"],
)
RECONCILES = Counter(
    "mistral_operator_reconcile",
    "Reconciliations, by outcome: settled, soon (looked at again in a moment), retry or error.",
    ["outcome"],
)
RECONCILE_SECONDS = Histogram(
    "mistral_operator_reconcile_seconds",
    "Duration of one reconciliation.",
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30),
)
QUEUE_DEPTH = Gauge("mistral_operator_queue_depth", "Resources that wait to be reconciled.")
QUEUE_RETRYING = Gauge(
    "mistral_operator_queue_retrying", "Resources that wait for a retry or the end of a burst."
)
LEADER = Gauge("mistral_operator_leader", "1 while this replica holds the Lease.")
RESYNC_SECONDS = Gauge(
    "mistral_operator_last_resync_timestamp_seconds",
    "When the last full comparison with the API server ended, as Unix time.",
)


@dataclass(slots=True, eq=False)
class FleetCollector(Collector):
    """What was last reported of each resource, by (namespace, name)."""

    statuses: dict[tuple[str, str], tuple[Status, int]] = field(default_factory=dict)
    """Status and wanted replicas."""

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the names are fixed and clash with no other collector."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield one family each for conditions, replicas and lacks of memory."""
        conditions = GaugeMetricFamily(
            "mistral_deployment_condition",
            "1 for the status that a condition of a resource has.",
            labels=["namespace", "name", "type", "status"],
        )
        replicas = GaugeMetricFamily(
            "mistral_deployment_replicas",
            "Replicas of a resource: desired, existing or ready.",
            labels=["namespace", "name", "state"],
        )
        for (namespace, name), (status, desired) in self.statuses.items():
            for condition in status.conditions:
                conditions.add_metric([namespace, name, condition.type, condition.status], 1)
            replicas.add_metric([namespace, name, "desired"], desired)
            replicas.add_metric([namespace, name, "existing"], status.replicas)
            replicas.add_metric([namespace, name, "ready"], status.ready_replicas)
        yield conditions
        yield replicas
        yield self._memory()

    def _memory(self) -> Metric:
        # The status holds the counts, so they outlive the operator and its leader. A rate needs a
        # zero before the first event, so every class is there from the start.
        family = CounterMetricFamily(
            "mistral_operator_oom_events",
            "Lacks of memory of a resource's pods since it exists, by class.",
            labels=["namespace", "name", "class"],
        )
        for (namespace, name), (status, _) in self.statuses.items():
            totals = {one.failure: one.count for one in status.oom.totals} if status.oom else {}
            for failure in sorted(MEMORY_FAILURES):
                family.add_metric([namespace, name, failure], totals.get(failure, 0))
        return family


FLEET = FleetCollector()


@dataclass(slots=True, eq=False)
class ScalingCollector(Collector):
    """What was last decided for each resource that the operator scales, by (namespace, name)."""

    decisions: MutableMapping[tuple[str, str], Decision] = field(default_factory=dict)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the names are fixed and clash with no other collector."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield one family for the number, one for the load, and one for the freeze."""
        labels = ["namespace", "name"]
        desired = GaugeMetricFamily(
            "mistral_operator_autoscaling_desired_replicas",
            "Replicas that the operator's autoscaling decided on.",
            labels=labels,
        )
        load = GaugeMetricFamily(
            "mistral_operator_autoscaling_load",
            "Productive requests in flight: running and waiting, without those that loop.",
            labels=labels,
        )
        frozen = GaugeMetricFamily(
            "mistral_operator_autoscaling_frozen",
            "1 while replicas are wanted and not added, because too many requests loop.",
            labels=labels,
        )
        for (namespace, name), decision in self.decisions.items():
            desired.add_metric([namespace, name], decision.replicas)
            frozen.add_metric([namespace, name], decision.frozen)
            if decision.load is not None:
                load.add_metric([namespace, name], decision.load)
        yield from (desired, load, frozen)


SCALING = ScalingCollector()
