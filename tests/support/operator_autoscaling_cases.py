"""Specs, looks and histories for the tests of how many replicas the load asks for."""

from hypothesis import strategies as st

from mistral_operator.api import Autoscaling
from mistral_operator.autoscaling import Decision, Look, Memory, PodLoad, decide

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


def first(given: Autoscaling, replicas: int, look: Look, target: int | None = TARGET) -> Decision:
    """Return the first decision on some replicas."""
    return decide(given, Memory(replicas), look, target, now=1000.0)[0]


def followed(given: Autoscaling, start: int, loads: list[int], step: float = STEP) -> list[int]:
    """Return the replicas at each look while a load is spread over as many pods as there are."""
    memory, path = Memory(start), []
    for number, load in enumerate(loads):
        share, rest = divmod(load, memory.replicas)
        spread = [share + (pod < rest) for pod in range(memory.replicas)]
        _, memory = decide(given, memory, Look(pods(*spread)), TARGET, number * step)
        path.append(memory.replicas)
    return path


def bounded(given_spec: Autoscaling, replicas: int) -> int:
    return min(max(replicas, given_spec.min_replicas), given_spec.max_replicas)


counts = st.integers(0, 200)
pod_loads = st.builds(
    PodLoad,
    running=counts,
    waiting=counts,
    starved=counts,
    looping=counts,
    kv_cache_usage=st.floats(0, 1),
)
looks = st.builds(
    Look,
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
    least = draw(st.integers(0, 10))
    return Autoscaling.model_validate(
        {
            "minReplicas": least,
            "maxReplicas": max(least, 1) + draw(st.integers(0, 30)),
            "tolerance": draw(st.floats(0, 1)),
            "freezeLoopShare": draw(st.floats(0, 1)),
            "behavior": {"scaleUp": draw(rules), "scaleDown": draw(rules)},
        }
    )


targets = st.none() | st.integers(1, 100)
histories = st.lists(st.tuples(looks, targets, st.floats(0.1, 200)), min_size=1, max_size=20)
