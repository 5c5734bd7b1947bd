"""What only Events say of a pod that waits: why it is not set up, and that a node is added. Pure.

The kubelet reports a volume that it cannot mount, or a sandbox that it cannot create, in no field
of the pod, and an autoscaler reports a node on its way in none either.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mistral_operator.kube.objects import Body
from mistral_operator.kube.timestamps import parse_time
from mistral_operator.watch.facts import PodFacts

_PASSES = 30.0
"""Seconds after a pod got its node in which failures may pass: caches of the kubelet are filled."""
_DETACHES = 420.0
"""The same for a volume that is attached to another node: Kubernetes detaches it from one that does
not respond after 6 minutes."""

_NODE_COMES = 1800.0
"""Seconds in which a node that an autoscaler adds is ready; they give up after 15 minutes."""

_SET_UP = {
    "FailedAttachVolume",
    "FailedCreatePodSandBox",
    "FailedMapVolume",
    "FailedMount",
    "FailedPrepareDynamicResources",
    "NetworkNotReady",
}
"""Reasons of the kubelet and of the attacher of volumes, before a container is created."""
_WENT_ON = {"Pulling", "Pulled", "Created", "Started"}
"""Reasons of the kubelet once volumes are mounted and the sandbox exists."""

_ADDS_NODE = {"TriggeredScaleUp", "Nominated"}
"""Reasons of the cluster autoscaler and of Karpenter: a node for the pod is on its way."""
_ADDS_NONE = {"NotTriggerScaleUp", "FailedScheduling"}
"""Reasons of both when no node that they may add would do; the last one is the scheduler's, too."""


@dataclass(frozen=True, slots=True)
class PodEvents:
    """What the Events of one pod say."""

    failure: str = ""
    """Reason of what keeps the kubelet from creating its containers, such as FailedMount."""
    message: str = ""
    """Message of that Event."""
    lasting: bool = False
    """Whether it failed for longer than what passes by itself."""
    new_node: str = ""
    """Reason and message of the autoscaler that adds a node for it."""
    undecided: bool = False
    """Whether it has no node for so short a time that an autoscaler may still add one."""


def pod_events(events: Iterable[Body], pod: PodFacts, now: str) -> PodEvents:
    """Return what the Events of a pod that waits say.

    Args:
        events: about the pod.
        pod: without a node, or on one and without a container that ever ran.
        now: the time as RFC 3339.
    """
    ordered = sorted(events, key=last_seen)
    if pod.unschedulable:
        newest = _newest(ordered, _ADDS_NODE | _ADDS_NONE)
        if newest is None or newest["reason"] not in _ADDS_NODE:
            return PodEvents()
        if _seconds(last_seen(newest), now) > _NODE_COMES:
            return PodEvents()
        return PodEvents(new_node=f"{newest['reason']}: {newest.get('message', '')}")
    newest = _newest(ordered, _SET_UP | _WENT_ON)
    if newest is None or newest["reason"] not in _SET_UP:
        return PodEvents()
    reason, message = newest["reason"], str(newest.get("message") or "")
    attaches = reason == "FailedAttachVolume" or message.startswith("Unable to attach")
    passes = _DETACHES if attaches else _PASSES
    return PodEvents(reason, message, _seconds(pod.since, last_seen(newest)) >= passes)


def last_seen(event: Body) -> str:
    """Return when an Event was seen last, in a form that can be compared."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((str(one) for one in times if one), "")


def age(pod: PodFacts, now: str) -> float:
    """Return for how many seconds a pod has had its node, or none; 0 if that is not known."""
    return max(0.0, _seconds(pod.since, now))


def _newest(ordered: list[Body], reasons: set[str]) -> Body | None:
    relevant = [one for one in ordered if one.get("reason") in reasons and not _of_scheduler(one)]
    return relevant[-1] if relevant else None


def _of_scheduler(event: Body) -> bool:
    """Tell whether a scheduler posted an Event, which knows nothing of nodes to come."""
    source = (event.get("source") or {}).get("component") or event.get("reportingComponent")
    return event.get("reason") == "FailedScheduling" and "karpenter" not in str(source)


def _seconds(start: str, end: str) -> float:
    """Return the seconds between two times, 0 if one of them cannot be read."""
    try:
        return (parse_time(end) - parse_time(start)).total_seconds()
    except (TypeError, ValueError):
        return 0.0
