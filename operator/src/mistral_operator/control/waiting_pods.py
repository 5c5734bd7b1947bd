"""Reads the Events of pods that wait, and returns when to look again."""

from collections.abc import Iterable
from dataclasses import replace

from mistral_operator.control.events_about import events_about
from mistral_operator.kube.client import Cluster
from mistral_operator.watch.facts import PodFacts
from mistral_operator.watch.pod_events import PodEvents, age, pod_events

FIRST_SECONDS = 10.0
"""Time that a pod waits before its Events are read: most pods wait for less."""
NODE_SECONDS = 20.0
"""Time that a pod without a node waits before that is reported as final. The cluster autoscaler
looks for such pods every 10 seconds, and Karpenter every few."""
AGAIN_SECONDS = 30.0
"""Time until Events are read again, which are not watched."""
MOST_PODS = 3
"""Pods of an endpoint whose Events are read: the others wait for the same."""

_NOT_YET = {"", "ContainerCreating", "PodInitializing"}


async def waiting_pods(
    cluster: Cluster, pods: Iterable[PodFacts], now: str
) -> tuple[dict[str, PodEvents], float | None]:
    """Return what Events say of the pods that wait, by uid, and in how many seconds to look again.

    Raises:
        Unavailable: the API server cannot be reached.
    """
    waiting = [pod for pod in pods if _waits(pod)][:MOST_PODS]
    events = {pod.uid: await _events(cluster, pod, now) for pod in waiting}
    return events, min((_again(pod, now) for pod in waiting), default=None)


def _waits(pod: PodFacts) -> bool:
    if not pod.since or pod.ready or pod.terminating or pod.evicted or pod.gates or pod.scheduler:
        return False
    return bool(pod.unschedulable) or all(
        one.exit_code is None and not one.running and one.waiting_reason in _NOT_YET
        for one in pod.containers
    )


def _again(pod: PodFacts, now: str) -> float:
    for until in (FIRST_SECONDS, NODE_SECONDS):
        if age(pod, now) < until:
            return until - age(pod, now) + 0.1
    return AGAIN_SECONDS


async def _events(cluster: Cluster, pod: PodFacts, now: str) -> PodEvents:
    undecided = bool(pod.unschedulable) and age(pod, now) < NODE_SECONDS
    if age(pod, now) < FIRST_SECONDS:
        return PodEvents(undecided=undecided)
    events = await events_about(cluster, pod.namespace, pod.uid)
    return replace(pod_events(events, pod, now), undecided=undecided)
