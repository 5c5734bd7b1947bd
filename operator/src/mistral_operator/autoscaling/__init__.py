"""How many replicas the load asks for. Pure: the clock is an argument.

`load` says what of a pod's requests is demand, `recommend` how many replicas that asks for,
`behavior` how fast they may follow, and `decide` puts the three together. Recommendation and
behavior are those of Kubernetes' HorizontalPodAutoscaler (v2); demand is not: requests that only
repeat themselves are none.
"""

from mistral_operator.autoscaling.decide import Decision, Memory, begin, decide
from mistral_operator.autoscaling.load import Look, PodLoad, polled_load, target_of
from mistral_operator.autoscaling.recommend import recommend

__all__ = [
    "Decision",
    "Look",
    "Memory",
    "PodLoad",
    "begin",
    "decide",
    "polled_load",
    "recommend",
    "target_of",
]
