"""Which Events of pods are read, and when."""

import asyncio

import pytest

from api_server import ApiServer
from builders import (
    NAMESPACE,
    Object,
    container,
    merged,
    pod_body,
    ready_pod,
    unschedulable_pod,
    unscheduled_pod,
    waiting_container,
)
from mistral_operator.control.waiting_pods import AGAIN_SECONDS, MOST_PODS, waiting_pods
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import Unavailable
from mistral_operator.kube.objects import key_of
from mistral_operator.watch.facts import PodFacts, pod_facts
from mistral_operator.watch.pod_events import PodEvents
from operator_life import Life, play

NOW = "2026-03-01T12:10:00Z"
MOUNT: Object = {
    "reason": "FailedMount",
    "message": "no such Secret",
    "lastTimestamp": "2026-03-01T12:09:50Z",
}


def facts(pod: Object, at: str = "12:05:00") -> PodFacts:
    """Return a pod that has its node, or none, since a time of the day."""
    time = {"lastTransitionTime": f"2026-03-01T{at}Z"}
    conditions = [one | time for one in pod["status"]["conditions"]]
    return pod_facts(merged(pod, {"status": {"conditions": conditions}}))


CREATING = pod_body(waiting_container("ContainerCreating"))
NOWHERE = unschedulable_pod("0/3 nodes are available")

NOT_READ: dict[str, Object] = {
    "it is ready": ready_pod(),
    "it is deleted": pod_body(
        waiting_container("ContainerCreating"), deletionTimestamp="2026-03-01T12:00:00Z"
    ),
    "it fetches the model": pod_body(container("fetch"), waiting_container("PodInitializing")),
    "its server starts": pod_body(container()),
    "its image cannot be pulled": pod_body(waiting_container("ImagePullBackOff")),
    "a queue holds it": unscheduled_pod(gates=["kueue.x-k8s.io/admission"]),
}


@pytest.mark.parametrize("pod", NOT_READ.values(), ids=NOT_READ)
async def test_nothing_is_read_of_a_pod_that_says_itself_what_it_does(
    cluster: Cluster, api: ApiServer, pod: Object
) -> None:
    assert await waiting_pods(cluster, [facts(pod)], NOW) == ({}, None)
    assert api.requests == []


@pytest.mark.parametrize(
    ("pod", "undecided"), [(CREATING, False), (NOWHERE, True)], ids=["containers", "a node"]
)
async def test_a_pod_that_waits_for_a_moment_is_looked_at_later(
    cluster: Cluster, api: ApiServer, pod: Object, undecided: bool
) -> None:
    waiting = facts(pod, "12:09:58")

    events, again = await waiting_pods(cluster, [waiting], NOW)

    assert events == {waiting.uid: PodEvents(undecided=undecided)}
    assert again == pytest.approx(8.1)
    assert api.requests == []


async def test_a_pod_without_a_node_is_undecided_until_autoscalers_had_their_turn(
    cluster: Cluster, api: ApiServer
) -> None:
    api.answer = {"metadata": {"resourceVersion": "1"}, "items": []}
    young, old = facts(NOWHERE, "12:09:45"), facts(NOWHERE, "12:09:39")

    events, again = await waiting_pods(cluster, [young], NOW)
    assert events[young.uid].undecided
    assert again == pytest.approx(5.1)

    events, again = await waiting_pods(cluster, [old], NOW)
    assert (events[old.uid].undecided, again) == (False, AGAIN_SECONDS)


async def test_the_events_of_a_few_pods_that_wait_are_read(
    cluster: Cluster, api: ApiServer
) -> None:
    api.answer = {"metadata": {"resourceVersion": "1"}, "items": [MOUNT]}
    pods = [facts(pod_body(waiting_container(""), name=f"small-{n}")) for n in range(MOST_PODS + 3)]

    events, again = await waiting_pods(cluster, pods, NOW)

    assert len(events) == len(api.requests) == MOST_PODS
    assert set(events.values()) == {PodEvents("FailedMount", "no such Secret", lasting=True)}
    assert again == AGAIN_SECONDS


async def test_without_the_permission_nothing_is_said(cluster: Cluster, api: ApiServer) -> None:
    api.status, api.answer = 403, {"kind": "Status", "message": "forbidden"}

    events, again = await waiting_pods(cluster, [facts(CREATING)], NOW)

    assert set(events.values()) == {PodEvents()}
    assert again == AGAIN_SECONDS


async def test_an_unreachable_api_server_says_nothing_about_a_pod(
    cluster: Cluster, api: ApiServer
) -> None:
    api.status, api.answer = 503, {"kind": "Status", "message": "later"}

    with pytest.raises(Unavailable):
        await waiting_pods(cluster, [facts(CREATING)], NOW)


# --- One reconciliation after another -------------------------------------------------------------


def say(life: Life, reason: str) -> None:
    """Post an Event about the only pod."""
    (pod,) = life.pods()
    event = {
        "metadata": {"name": reason.lower(), "namespace": NAMESPACE},
        "involvedObject": {"uid": pod["metadata"]["uid"]},
        "reason": reason,
        "message": "pool gpu",
        "type": "Normal",
        "lastTimestamp": life.now(),
        "count": 1,
    }
    life.objects.create(kinds.EVENT, event)


def lose_the_node(life: Life) -> None:
    """Let the only pod wait for a node."""
    (pod,) = life.pods()
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available",
        "lastTransitionTime": life.now(),
    }
    status = {"phase": "Pending", "conditions": [condition]}
    life.objects.update(
        kinds.POD, key_of(pod), lambda live: {**live, "status": status}, status=True
    )


def test_a_pod_waits_as_long_as_an_autoscaler_adds_a_node() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()
        lose_the_node(life)
        await asyncio.sleep(5)
        assert (life.reason(), life.reason("Degraded")) == ("Creating", "Healthy")

        say(life, "TriggeredScaleUp")
        await life.settle()
        assert (life.reason(), life.reason("Degraded")) == ("Creating", "Healthy")
        assert "Unschedulable" not in life.event_reasons()

        say(life, "NotTriggerScaleUp")
        await life.settle()
        assert (life.reason(), life.reason("Degraded")) == ("Unschedulable", "Unschedulable")

    play(scenario)
