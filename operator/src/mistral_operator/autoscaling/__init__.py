"""How many replicas the load needs. Pure: the clock is an argument.

`load` computes the demand of a pod's requests, `recommend` the replicas that it needs, and
`behavior` limits how fast replicas follow. `decide` combines the three. Recommendation and behavior
are those of Kubernetes' HorizontalPodAutoscaler (v2). Demand is not: looping requests do not count.
"""

from mistral_operator.autoscaling.decide import (
    Decision,
    ScalingHistory,
    decide_replicas,
    initial_history,
)
from mistral_operator.autoscaling.load import LoadSample, PodLoad, effective_target, polled_load
from mistral_operator.autoscaling.recommend import recommend

__all__ = [
    "Decision",
    "LoadSample",
    "PodLoad",
    "ScalingHistory",
    "decide_replicas",
    "effective_target",
    "initial_history",
    "polled_load",
    "recommend",
]
