"""Metrics about resources, computed at scrape time from what was last reported of each.

A deleted resource leaves no series behind.
"""

from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mistral_operator.api import Condition, ConditionType, Status
from mistral_operator.autoscaling import Decision
from mistral_operator.isolation import Isolation
from mistral_operator.kube.objects import shared_text
from mistral_server.contract import MEMORY_FAILURES

_ISOLATION = Isolation("metrics")


@dataclass(frozen=True, slots=True)
class Reported:
    """What metrics show of a status, which itself takes ten times the memory."""

    desired: int
    existing: int
    ready: int
    conditions: tuple[tuple[str, str], ...]
    """Types and statuses."""
    limited: str
    """Reason for which ScalingLimited is not False, empty if it is or does not exist."""
    failures: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, status: Status, desired: int) -> "Reported":
        """Return what metrics show of a status and of the wanted replicas."""
        conditions = status.conditions
        totals = status.oom.totals if status.oom else ()
        return cls(
            desired,
            status.replicas,
            status.ready_replicas,
            tuple((shared_text(one.type), shared_text(one.status)) for one in conditions),
            next(
                (shared_text(one.reason) for one in status.conditions if _limits_scaling(one)), ""
            ),
            tuple((one.failure, one.count) for one in totals),
        )


@dataclass(slots=True, eq=False)
class FleetCollector(Collector):
    """What was last reported of each resource, by (namespace, name)."""

    statuses: dict[tuple[str, str], Reported] = field(default_factory=dict)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the names are fixed and clash with no other collector."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield one family each for conditions, replicas, limits and memory failures."""
        conditions = GaugeMetricFamily(
            "mistral_deployment_condition",
            "1 for the current status of each condition of a resource.",
            labels=["namespace", "name", "type", "status"],
        )
        replicas = GaugeMetricFamily(
            "mistral_deployment_replicas",
            "Replicas of a resource: desired, existing or ready.",
            labels=["namespace", "name", "state"],
        )
        limits = GaugeMetricFamily(
            "mistral_deployment_scaling_limited",
            "1 for the reason of the condition ScalingLimited, unless the condition is False.",
            labels=["namespace", "name", "reason"],
        )
        for (namespace, name), one in self.statuses.items():
            with _ISOLATION.of((namespace, name)):
                for condition in one.conditions:
                    conditions.add_metric([namespace, name, *condition], 1)
                # A number beyond a float would end the exposition, and with it all metrics.
                replicas.add_metric([namespace, name, "desired"], float(one.desired))
                replicas.add_metric([namespace, name, "existing"], float(one.existing))
                replicas.add_metric([namespace, name, "ready"], float(one.ready))
                if one.limited:
                    limits.add_metric([namespace, name, one.limited], 1)
        yield from (conditions, replicas, limits)
        yield self._memory()

    def _memory(self) -> Metric:
        # The status holds the counts, so they outlive the operator and its leader. A rate needs a
        # zero before the first event, so every class is there from the start.
        family = CounterMetricFamily(
            "mistral_operator_oom_events",
            "Out-of-memory failures of a resource's pods by class, since the resource was created.",
            labels=["namespace", "name", "class"],
        )
        for (namespace, name), one in self.statuses.items():
            totals = dict(one.failures)
            with _ISOLATION.of((namespace, name)):
                for failure in sorted(MEMORY_FAILURES):
                    family.add_metric([namespace, name, failure], float(totals.get(failure, 0)))
        return family


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
            "Number of replicas that the operator's autoscaling decided.",
            labels=labels,
        )
        load = GaugeMetricFamily(
            "mistral_operator_autoscaling_load",
            "Productive requests in flight: running and waiting, without looping ones.",
            labels=labels,
        )
        frozen = GaugeMetricFamily(
            "mistral_operator_autoscaling_frozen",
            "1 while no replica is added although the load needs more, since too many requests"
            " loop.",
            labels=labels,
        )
        for (namespace, name), decision in self.decisions.items():
            with _ISOLATION.of((namespace, name)):
                desired.add_metric([namespace, name], float(decision.replicas))
                frozen.add_metric([namespace, name], decision.frozen)
                if decision.load is not None:
                    load.add_metric([namespace, name], float(decision.load))
        yield from (desired, load, frozen)


def _limits_scaling(condition: Condition) -> bool:
    return condition.type == ConditionType.SCALING_LIMITED and condition.status != "False"
