"""`spec.autoscaling` and `status.autoscaling`: how many replicas, and who decides it."""

from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import Field

from mistral_operator.api.base import ApiModel, Rule


class ScalingPolicy(ApiModel):
    """How much may change within a period."""

    type: Literal["Pods", "Percent"]
    """Whether `value` counts replicas, or is a share of those at the beginning of the period."""
    value: int = Field(ge=1, le=10_000)
    """Replicas, or percent."""
    period_seconds: int = Field(ge=1, le=1800)
    """Length of the period."""


class ScalingRules(ApiModel):
    """How fast replicas change in one direction."""

    stabilization_window_seconds: int = Field(default=30, ge=0, le=3600)
    """Seconds that are looked back on: replicas only rise to the least that was wanted meanwhile. A
    replica takes minutes to start; one that a single high look asked for comes too late anyway."""
    select_policy: Literal["Max", "Min", "Disabled"] = "Max"
    """Which policy counts where there are several: the one that allows most, or least. `Disabled`
    never scales in this direction."""
    policies: list[ScalingPolicy] = Field(
        default=[
            ScalingPolicy(type="Percent", value=100, period_seconds=15),
            ScalingPolicy(type="Pods", value=4, period_seconds=15),
        ],
        min_length=1,
        max_length=8,
    )
    """How much may change within which period."""


class ScaleDownRules(ScalingRules):
    """How fast replicas become fewer."""

    stabilization_window_seconds: int = Field(default=300, ge=0, le=3600)
    """Seconds that are looked back on: replicas only fall to the most that was wanted meanwhile. A
    replica that goes too early takes minutes to come back."""
    policies: list[ScalingPolicy] = Field(
        default=[ScalingPolicy(type="Percent", value=100, period_seconds=15)],
        min_length=1,
        max_length=8,
    )
    """How much may change within which period."""


class ScalingBehavior(ApiModel):
    """How fast replicas follow the load; the fields are those of a HorizontalPodAutoscaler."""

    scale_up: ScalingRules = ScalingRules()
    """Towards more replicas. By default doubling or 4 replicas every 15 seconds, once the load was
    higher for 30 seconds."""
    scale_down: ScaleDownRules = ScaleDownRules()
    """Towards fewer replicas. By default not before the load was lower for 5 minutes."""


class Keda(ApiModel):
    """How KEDA learns of the load."""

    prometheus: str | None = Field(default=None, max_length=512, pattern=r"^https?://[^\s]+$")
    """Address of a Prometheus that KEDA asks, such as http://prometheus.monitoring.svc:9090. It
    needs `targetInFlight`, and knows no freeze. Unset: KEDA asks the operator."""
    polling_seconds: int = Field(default=15, ge=1, le=3600)
    """Seconds between two looks of KEDA."""


class Activation(ApiModel):
    """What the activator does with requests while no replica is ready."""

    max_wait_seconds: int = Field(default=300, ge=1, le=3600)
    """Seconds that a request is held for a replica to start; then it is answered with 503 and
    Retry-After. Load balancers and clients on the way must be as patient."""
    max_requests: int = Field(default=100, ge=1, le=10_000)
    """Requests that each activator holds at most; more are answered with 503 at once."""


def _asks_prometheus(autoscaling: Any) -> bool:
    return autoscaling.keda is not None and autoscaling.keda.prometheus is not None


class Autoscaling(ApiModel):
    """How many replicas follow the load, and who decides it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "spec.autoscaling.minReplicas is more than maxReplicas: lower it, or raise maxReplicas",
            lambda one: one.min_replicas <= one.max_replicas,
        ),
        Rule(
            "self.minReplicas > 0 || !has(self.keda) || !has(self.keda.prometheus)",
            "a Prometheus cannot tell an endpoint that sleeps from one that is not scraped:"
            " remove spec.autoscaling.keda.prometheus, or set minReplicas to 1 or more",
            lambda one: one.min_replicas > 0 or not _asks_prometheus(one),
        ),
        Rule(
            "!has(self.keda) || self.driver == 'KEDA'",
            "spec.autoscaling.keda is for driver: KEDA: remove it, or set that driver",
            lambda one: one.keda is None or one.driver == "KEDA",
        ),
        Rule(
            "!has(self.keda) || !has(self.keda.prometheus) || has(self.targetInFlight)",
            "spec.autoscaling.keda.prometheus cannot know what the engine's KV cache holds: set"
            " spec.autoscaling.targetInFlight",
            lambda one: not _asks_prometheus(one) or one.target_in_flight is not None,
        ),
    )

    driver: Literal["Operator", "KEDA", "External"] = "Operator"
    """Who decides. `Operator`: this operator, by the load that pods report; nothing else needs to
    be installed, and `spec.replicas` then only says where to begin, or 0 to stop. `KEDA`: a
    ScaledObject that the operator makes. `External`: whoever writes the scale subresource, such as
    a HorizontalPodAutoscaler of yours."""
    min_replicas: int = Field(default=1, ge=0, le=1000)
    """Fewest replicas. 0 lets an idle endpoint sleep: the chart's activator then takes its
    requests, holds them and wakes it."""
    max_replicas: int = Field(ge=1, le=1000)
    """Most replicas. The condition ScalingLimited says if the cluster has too few GPUs for them."""
    target_in_flight: int | None = Field(default=None, ge=1, le=100_000)
    """Requests in flight that a replica should have, running and waiting, without those that loop.
    Unset: as many of 4096 tokens as the engine's KV cache holds, at most 256 or
    `engine.maxSequences`."""
    tolerance: float = Field(default=0.1, ge=0, le=1)
    """Share by which the load may differ from the target before anything is done."""
    freeze_loop_share: float = Field(default=0.8, ge=0, le=1)
    """Share of looping requests among the running ones above which no replica is added: more GPUs
    would serve junk. 1 never freezes."""
    activation: Activation = Activation()
    """What becomes of requests to an endpoint that sleeps; for minReplicas 0."""
    keda: Keda | None = None
    """How KEDA learns of the load. Unset: from the operator, every 15 seconds."""
    behavior: ScalingBehavior = ScalingBehavior()
    """How fast replicas follow the load."""


class ScalingReason(StrEnum):
    """Why the operator's own driver decided as it did; docs/autoscaling.md lists them."""

    STARTED = "Started"
    """Nothing was decided yet: the number is where it began."""
    SCALED_UP = "ScaledUp"
    """The load asked for more replicas."""
    SCALED_DOWN = "ScaledDown"
    """The load asked for fewer replicas."""
    ON_TARGET = "OnTarget"
    """The load is near the target."""
    STABILIZED = "Stabilized"
    """Another number is wanted, and the window or the rate says not yet."""
    AT_MAXIMUM = "AtMaximum"
    """More than maxReplicas are wanted."""
    FROZEN = "ScaleUpFrozen"
    """More replicas are wanted, and too many requests loop."""
    NO_SIGNALS = "NoSignals"
    """No ready pod says what it does, or what its engine holds."""
    NOT_READY = "NotReady"
    """No pod is ready."""
    ASLEEP = "Asleep"
    """Nothing was asked for long enough; the next request starts a replica."""
    STOPPED = "Stopped"
    """The endpoint is suspended, or `spec.replicas` is 0 and minReplicas is not."""


class AutoscalingStatus(ApiModel):
    """The last decision and what it was made of; written when the decision changes."""

    replicas: int
    """Replicas that were decided on."""
    reason: str = Field(max_length=64)
    """Why, in one word of docs/autoscaling.md."""
    message: str = Field(default="", max_length=1024)
    """Why, in a sentence."""
    time: str = Field(json_schema_extra={"format": "date-time"})
    """When this was decided."""
    load: int | None = None
    """Productive requests in flight: running and waiting, without those that loop."""
    target_in_flight: int | None = None
    """Requests in flight that a replica should have."""
    running: int | None = None
    """Requests that were computed."""
    waiting: int | None = None
    """Requests in the queues of the engines."""
    held: int | None = None
    """Requests that the activator held."""
    looping: int | None = None
    """Requests among the running ones that only repeated themselves."""
    silent_pods: int | None = None
    """Ready pods that did not say what they do."""
