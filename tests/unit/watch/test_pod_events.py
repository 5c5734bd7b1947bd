"""What Events say of a pod that waits."""

from typing import Any

import pytest

from builders import Object, merged, pod_body, unschedulable_pod, waiting_container
from mistral_operator.watch.facts import PodFacts, pod_facts
from mistral_operator.watch.pod_events import PodEvents, pod_events

NOW = "2026-03-01T12:10:00Z"
ABSENT = 'MountVolume.SetUp failed for volume "certs" : secret "nope" not found'
TIMEOUT = "Unable to attach or mount volumes: unmounted volumes=[model]: timed out"
ATTACHED = "Multi-Attach error for volume pvc-1: Volume is already used by pod(s) small-0"


def since(pod: Object, at: str = "2026-03-01T12:00:00Z") -> PodFacts:
    """Return a pod whose condition PodScheduled has a time."""
    (condition,) = pod["status"]["conditions"]
    return pod_facts(
        merged(pod, {"status": {"conditions": [condition | {"lastTransitionTime": at}]}})
    )


PLACED = since(pod_body(waiting_container("ContainerCreating")))
NOWHERE = since(unschedulable_pod("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."))


def event(reason: str, message: str = "", at: str = "12:00:05", **fields: Any) -> Object:
    """Return an Event of a time on the day of the pod."""
    return {"reason": reason, "message": message, "lastTimestamp": f"2026-03-01T{at}Z", **fields}


KARPENTER: Object = {"source": {"component": "karpenter"}}

EXPLAINED: dict[str, tuple[PodFacts, list[Object], PodEvents]] = {
    "nothing": (PLACED, [], PodEvents()),
    "a volume cannot be mounted at first": (
        PLACED,
        [event("Scheduled", at="12:00:00"), event("FailedMount", ABSENT)],
        PodEvents("FailedMount", ABSENT),
    ),
    "a volume cannot be mounted for long": (
        PLACED,
        [event("FailedMount", ABSENT, "12:00:32")],
        PodEvents("FailedMount", ABSENT, lasting=True),
    ),
    "it could not be mounted, and the image is pulled": (
        PLACED,
        [event("FailedMount", ABSENT, "12:00:32"), event("Pulling", at="12:01:00")],
        PodEvents(),
    ),
    "the order of a list means nothing": (
        PLACED,
        [event("Pulling", at="12:01:00"), event("FailedMount", ABSENT, "12:00:32")],
        PodEvents(),
    ),
    "something else is reported after it": (
        PLACED,
        [event("FailedMount", ABSENT, "12:00:32"), event("Nominated", at="12:01:00")],
        PodEvents("FailedMount", ABSENT, lasting=True),
    ),
    "a volume is still attached elsewhere": (
        PLACED,
        [event("FailedAttachVolume", ATTACHED, "12:02:00")],
        PodEvents("FailedAttachVolume", ATTACHED),
    ),
    "the kubelet waits for that": (
        PLACED,
        [event("FailedMount", TIMEOUT, "12:02:00")],
        PodEvents("FailedMount", TIMEOUT),
    ),
    "a volume is attached elsewhere for long": (
        PLACED,
        [event("FailedAttachVolume", ATTACHED, "12:07:30")],
        PodEvents("FailedAttachVolume", ATTACHED, lasting=True),
    ),
    "a sandbox fails": (
        PLACED,
        [event("FailedCreatePodSandBox", "no runtime for nvidia", "12:01:00")],
        PodEvents("FailedCreatePodSandBox", "no runtime for nvidia", lasting=True),
    ),
    "an Event has the new form": (
        PLACED,
        [
            event("FailedMount", ABSENT)
            | {
                "lastTimestamp": None,
                "eventTime": "2026-03-01T12:00:01.000001Z",
                "series": {"count": 9, "lastObservedTime": "2026-03-01T12:01:00.000001Z"},
            }
        ],
        PodEvents("FailedMount", ABSENT, lasting=True),
    ),
    "an Event has no time": (
        PLACED,
        [event("FailedMount", ABSENT) | {"lastTimestamp": None}],
        PodEvents("FailedMount", ABSENT),
    ),
    "no node is added": (NOWHERE, [event("FailedScheduling", "0/3 nodes")], PodEvents()),
    "the cluster autoscaler adds a node": (
        NOWHERE,
        [event("FailedScheduling", "0/3 nodes"), event("TriggeredScaleUp", "gpu 0->1")],
        PodEvents(new_node="TriggeredScaleUp: gpu 0->1"),
    ),
    "the scheduler tries again meanwhile": (
        NOWHERE,
        [event("TriggeredScaleUp", "gpu 0->1"), event("FailedScheduling", "0/3", "12:00:40")],
        PodEvents(new_node="TriggeredScaleUp: gpu 0->1"),
    ),
    "Karpenter adds a node": (
        NOWHERE,
        [event("Nominated", "Pod should schedule on: nodeclaim/gpu-1", **KARPENTER)],
        PodEvents(new_node="Nominated: Pod should schedule on: nodeclaim/gpu-1"),
    ),
    "the cluster autoscaler gives up": (
        NOWHERE,
        [event("TriggeredScaleUp", "gpu 0->1"), event("NotTriggerScaleUp", "", "12:05:00")],
        PodEvents(),
    ),
    "Karpenter gives up": (
        NOWHERE,
        [event("Nominated", "x"), event("FailedScheduling", "", "12:05:00", **KARPENTER)],
        PodEvents(),
    ),
    "the node never came": (
        NOWHERE,
        [event("TriggeredScaleUp", "gpu 0->1", "11:30:00")],
        PodEvents(),
    ),
}


@pytest.mark.parametrize(("pod", "events", "want"), EXPLAINED.values(), ids=EXPLAINED)
def test_events_say_what_a_pod_waits_for(
    pod: PodFacts, events: list[Object], want: PodEvents
) -> None:
    assert pod_events(events, pod, NOW) == want
