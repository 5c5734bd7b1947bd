"""`spec.autoscaling` and `status.autoscaling`: how many replicas run, and what decides that."""

from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import Field

from mistral_operator.api.base import ApiModel, Count, Rule, Time, Url


class ScalingPolicy(ApiModel):
    """A limit on how much the number of replicas may change within a period."""

    type: Literal["Pods", "Percent"]
    """Unit of `value`: `Pods` is a number of replicas, `Percent` a share of the replicas at the
    beginning of the period."""
    value: int = Field(ge=1, le=10_000)
    """Largest change within the period, in replicas or percent."""
    period_seconds: int = Field(ge=1, le=1800)
    """Length of the period, in seconds."""


class ScalingRules(ApiModel):
    """How fast the number of replicas changes in one direction."""

    stabilization_window_seconds: int = Field(default=30, ge=0, le=3600)
    """Stabilization window, in seconds: scale up only to the lowest recommendation of this window.
    Raise it if short bursts add replicas that start too late to help; a replica takes minutes to
    start."""
    select_policy: Literal["Max", "Min", "Disabled"] = "Max"
    """Policy that applies if there are several: `Max` the one that allows the largest change, `Min`
    the smallest. `Disabled` never scales in this direction."""
    policies: list[ScalingPolicy] = Field(
        default=[
            ScalingPolicy(type="Percent", value=100, period_seconds=15),
            ScalingPolicy(type="Pods", value=4, period_seconds=15),
        ],
        min_length=1,
        max_length=8,
    )
    """Limits on how much the number of replicas may change within a period."""


class ScaleDownRules(ScalingRules):
    """How fast the number of replicas decreases."""

    stabilization_window_seconds: int = Field(default=300, ge=0, le=3600)
    """Stabilization window, in seconds: scale down only to the highest recommendation of this
    window. Raise it if the load often returns; a removed replica takes minutes to come back."""
    policies: list[ScalingPolicy] = Field(
        default=[ScalingPolicy(type="Percent", value=100, period_seconds=15)],
        min_length=1,
        max_length=8,
    )
    """Limits on how much the number of replicas may change within a period."""


class ScalingBehavior(ApiModel):
    """How fast replicas follow the load; the fields are those of a HorizontalPodAutoscaler."""

    scale_up: ScalingRules = ScalingRules()
    """Scaling up. By default replicas may double, or increase by 4, every 15 seconds after the load
    has been higher for 30 seconds."""
    scale_down: ScaleDownRules = ScaleDownRules()
    """Scaling down. By default replicas decrease only after the load has been lower for 5
    minutes."""


class Keda(ApiModel):
    """How KEDA reads the load."""

    prometheus: Url | None = None
    """URL of a Prometheus server that KEDA queries, such as http://prometheus.monitoring.svc:9090.
    It requires `targetInFlight` and does not support `freezeLoopShare`. Unset: KEDA queries the
    operator."""
    polling_seconds: int = Field(default=15, ge=1, le=3600)
    """Polling interval of KEDA, in seconds."""


class Activation(ApiModel):
    """How the activator handles requests while no replica is ready."""

    max_wait_seconds: int = Field(default=300, ge=1, le=3600)
    """Longest time that a request is queued while a replica starts, in seconds. After that the
    client receives 503 with Retry-After. Timeouts of clients and load balancers must be at least as
    long."""
    max_requests: int = Field(default=100, ge=1, le=10_000)
    """Maximum number of queued requests in each activator. Further requests receive 503
    immediately."""


def _queries_prometheus(autoscaling: Any) -> bool:
    return autoscaling.keda is not None and autoscaling.keda.prometheus is not None


class Autoscaling(ApiModel):
    """Autoscaling: how many replicas the load needs, and what decides it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "spec.autoscaling.minReplicas is greater than maxReplicas: make the minimum no larger"
            " than the maximum",
            lambda one: one.min_replicas <= one.max_replicas,
        ),
        Rule(
            "self.minReplicas > 0 || !has(self.keda) || !has(self.keda.prometheus)",
            "Prometheus cannot distinguish an endpoint that is scaled to zero from one that is not"
            " scraped: remove spec.autoscaling.keda.prometheus, or set minReplicas to 1 or more",
            lambda one: one.min_replicas > 0 or not _queries_prometheus(one),
        ),
        Rule(
            "!has(self.keda) || self.driver == 'KEDA'",
            "spec.autoscaling.keda requires driver: KEDA: set spec.autoscaling.driver to KEDA, or"
            " remove spec.autoscaling.keda",
            lambda one: one.keda is None or one.driver == "KEDA",
        ),
        Rule(
            "!has(self.keda) || !has(self.keda.prometheus) || has(self.targetInFlight)",
            "spec.autoscaling.keda.prometheus requires spec.autoscaling.targetInFlight: set it,"
            " since Prometheus does not know the size of the KV cache",
            lambda one: not _queries_prometheus(one) or one.target_in_flight is not None,
        ),
    )

    driver: Literal["Operator", "KEDA", "External"] = "Operator"
    """What decides the number of replicas. `Operator`: this operator, based on the load that pods
    report. It needs no other component, and `spec.replicas` is then only the initial number, or 0
    to stop the endpoint. `KEDA`: a ScaledObject that the operator creates. `External`: any client
    of the scale subresource, such as your own HorizontalPodAutoscaler."""
    min_replicas: int = Field(default=1, ge=0, le=1000)
    """Minimum number of replicas. 0 scales an idle endpoint to zero: the chart's activator then
    queues its requests and scales it from zero."""
    max_replicas: int = Field(ge=1, le=1000)
    """Maximum number of replicas. The condition ScalingLimited reports if the cluster has too few
    GPUs for this many."""
    target_in_flight: int | None = Field(default=None, ge=1, le=100_000)
    """Target number of requests in flight per replica: running and waiting, without looping ones.
    Unset: as many requests of 4096 tokens as the KV cache of the engine holds, but at most
    `engine.maxSequences` (or 256 if that is unset)."""
    tolerance: float = Field(default=0.1, ge=0, le=1)
    """Relative difference between load and target that does not change the number of replicas."""
    freeze_loop_share: float = Field(default=0.8, ge=0, le=1)
    """Share of looping requests among the running ones above which no replica is added, since more
    GPUs would serve only loops. 1 never freezes."""
    activation: Activation = Activation()
    """How requests are handled while the endpoint is scaled to zero (minReplicas: 0)."""
    keda: Keda | None = None
    """How KEDA reads the load. Unset: from the operator, every 15 seconds."""
    behavior: ScalingBehavior = ScalingBehavior()
    """How fast the number of replicas follows the load."""


class ScalingReason(StrEnum):
    """Why the operator's own driver made a decision; docs/autoscaling.md lists the reasons."""

    STARTED = "Started"
    """Nothing was decided yet: this is the initial number."""
    SCALED_UP = "ScaledUp"
    """The load needs more replicas."""
    SCALED_DOWN = "ScaledDown"
    """The load needs fewer replicas."""
    ON_TARGET = "OnTarget"
    """The load is near the target."""
    STABILIZED = "Stabilized"
    """The load needs another number of replicas, but the window or the rate does not allow it
    yet."""
    AT_MAXIMUM = "AtMaximum"
    """The load needs more than maxReplicas."""
    FROZEN = "ScaleUpFrozen"
    """The load needs more replicas, but too many requests loop."""
    NO_SIGNALS = "NoSignals"
    """No ready pod reports its load or the size of its KV cache."""
    NOT_READY = "NotReady"
    """No pod is ready."""
    ASLEEP = "Asleep"
    """Scaled to zero while idle; the next request starts a replica."""
    STOPPED = "Stopped"
    """The endpoint is suspended, or `spec.replicas` is 0 and minReplicas is not."""


class AutoscalingStatus(ApiModel):
    """The last decision and its inputs; updated when the decision changes."""

    replicas: int = Field(ge=0, le=1000)
    """Number of replicas that was decided."""
    reason: str = Field(max_length=64)
    """Reason of the decision, in one word; docs/autoscaling.md lists the reasons."""
    message: str = Field(default="", max_length=1024)
    """Reason of the decision, in a sentence."""
    time: Time = Field(json_schema_extra={"format": "date-time"})
    """Time of the decision."""
    load: Count | None = None
    """Productive requests in flight: running and waiting, without looping ones."""
    target_in_flight: Count | None = None
    """Target number of requests in flight per replica."""
    running: Count | None = None
    """Running requests."""
    waiting: Count | None = None
    """Requests that wait in the queues of the engines."""
    held: Count | None = None
    """Requests queued in the activator."""
    looping: Count | None = None
    """Looping requests among the running ones."""
    silent_pods: Count | None = None
    """Ready pods without a load report."""
