"""Specs, load samples and histories for the tests of how many replicas the load needs."""

from hypothesis import strategies as st

from mistral_operator.api import Autoscaling
from mistral_operator.autoscaling import (
    Decision,
    LoadSample,
    PodLoad,
    ScalingHistory,
    decide_replicas,
)

TARGET = 10
AT_ONCE_UP = {"scaleUp": {"stabilizationWindowSeconds": 0}}
STEP = 15.0


def spec(**fields: object) -> Autoscaling:
    """Return autoscaling between 1 and 20 replicas."""
    return Autoscaling.model_validate({"maxReplicas": 20, **fields})


def pods(*running: int, looping: int = 0) -> tuple[PodLoad, ...]:
    """Return pods that run so many requests each; in each, so many of them loop."""
    return tuple(PodLoad(running=one, looping=looping) for one in running)


def at_once(**fields: object) -> Autoscaling:
    """Return autoscaling without a window in either direction."""
    return spec(behavior={"scaleDown": {"stabilizationWindowSeconds": 0}}, **fields)


def first(
    autoscaling: Autoscaling, replicas: int, sample: LoadSample, target: int | None = TARGET
) -> Decision:
    """Return the first decision on some replicas."""
    return decide_replicas(autoscaling, ScalingHistory(replicas), sample, target, now=1000.0)[0]


def followed(
    autoscaling: Autoscaling, start: int, loads: list[int], step: float = STEP
) -> list[int]:
    """Return the replicas at each step while a load is spread over all pods."""
    history, path = ScalingHistory(start), []
    for number, load in enumerate(loads):
        share, rest = divmod(load, history.replicas)
        spread = [share + (pod < rest) for pod in range(history.replicas)]
        _, history = decide_replicas(
            autoscaling, history, LoadSample(pods(*spread)), TARGET, number * step
        )
        path.append(history.replicas)
    return path


def bounded(autoscaling: Autoscaling, replicas: int) -> int:
    return min(max(replicas, autoscaling.min_replicas), autoscaling.max_replicas)


counts = st.integers(0, 200)
pod_loads = st.builds(
    PodLoad,
    running=counts,
    waiting=counts,
    starved=counts,
    looping=counts,
    kv_cache_usage=st.floats(0, 1),
)
samples = st.builds(
    LoadSample,
    st.lists(pod_loads, max_size=12).map(tuple),
    st.integers(0, 12),
    st.sampled_from([0, 0, 1, 50]),
    st.booleans(),
)
policies = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["Pods", "Percent"]),
            "value": st.integers(1, 200),
            "periodSeconds": st.integers(1, 600),
        }
    ),
    min_size=1,
    max_size=3,
)
rules = st.fixed_dictionaries(
    {
        "stabilizationWindowSeconds": st.integers(0, 600),
        "selectPolicy": st.sampled_from(["Max", "Min", "Disabled"]),
        "policies": policies,
    }
)


@st.composite
def specs(draw: st.DrawFn) -> Autoscaling:
    minimum = draw(st.integers(0, 10))
    return Autoscaling.model_validate(
        {
            "minReplicas": minimum,
            "maxReplicas": max(minimum, 1) + draw(st.integers(0, 30)),
            "tolerance": draw(st.floats(0, 1)),
            "freezeLoopShare": draw(st.floats(0, 1)),
            "behavior": {"scaleUp": draw(rules), "scaleDown": draw(rules)},
        }
    )


targets = st.none() | st.integers(1, 100)
histories = st.lists(st.tuples(samples, targets, st.floats(0.1, 200)), min_size=1, max_size=20)
