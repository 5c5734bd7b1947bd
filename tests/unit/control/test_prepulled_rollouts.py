"""An edit of the image on a cluster whose nodes pull: what waits, for how long, what is left."""

import asyncio

import pytest

from builders import CONTEXT, Object, node_body
from fake_api_server import Write
from fake_workloads import is_ready
from mistral_operator.kube import kinds
from operator_life import Life, play

NEW = "registry.example.com/server:2"
PREPULL: Object = {"rollout": {"prepull": "BeforeRollout"}}
QUIET = 1_300.0
"""Longer than an edit waits."""
NO_SUCH_IMAGE = "manifest unknown"


async def serving(life: Life, spec: Object | None = None, nodes: int = 3) -> None:
    """Bring an endpoint to where it answers, on a cluster with some nodes."""
    for number in range(1, nodes):
        life.objects.create(kinds.NODE, node_body(f"gpu-{number}"))
    await life.start()
    life.create({**PREPULL, **(spec or {})})
    await life.settle()


def images(life: Life) -> set[str]:
    """Return the images of the replicas."""
    return {pod["spec"]["containers"][0]["image"] for pod in life.pods()}


def message(life: Life, kind: str = "Ready") -> str:
    """Return the message of a condition."""
    return next(str(one["message"]) for one in life.status["conditions"] if one["type"] == kind)


def test_an_edit_of_the_image_waits_until_every_node_has_pulled_it() -> None:
    async def scenario(life: Life) -> None:
        await serving(life)

        life.edit({"image": NEW})
        await asyncio.sleep(60)
        assert images(life) == {CONTEXT.server_image}
        assert all(map(is_ready, life.pods()))
        assert (life.reason(), life.reason("ImagesPulled")) == ("Prepulling", "Prepulling")
        assert f"0 of 3 nodes have pulled {NEW}" in message(life)
        assert life.reason("Available") == "Available"

        await life.settle(QUIET)
        assert images(life) == {NEW}
        assert life.daemon_sets.pulled == {(f"gpu-{number}", NEW) for number in range(3)}
        assert (life.reason(), life.reason("ImagesPulled")) == ("Ready", "")
        assert life.daemon_sets.daemon_sets() == []

    play(scenario)


def test_pods_that_pull_leave_no_object_behind() -> None:
    async def scenario(life: Life) -> None:
        await serving(life)
        before = {(kind.kind, key) for kind, key in life.objects.stored if kind != kinds.POD}

        life.edit({"image": NEW})
        await life.settle(QUIET)

        after = {(kind.kind, key) for kind, key in life.objects.stored if kind != kinds.POD}
        assert {one for one in after - before if one[0] != "Event"} == set()

    play(scenario)


def test_an_image_that_no_node_can_pull_is_never_rolled_out() -> None:
    async def scenario(life: Life) -> None:
        await serving(life)
        life.daemon_sets.failure = lambda _node, image: NO_SUCH_IMAGE if image == NEW else ""

        life.edit({"image": NEW})
        await asyncio.sleep(5_000)

        assert (images(life), life.reason("Available")) == ({CONTEXT.server_image}, "Available")
        assert life.reason() == life.reason("ImagesPulled") == "ImageUnavailable"
        assert life.reason("Degraded") == "ImageUnavailable"
        assert "correct spec.image" in message(life)
        assert "node gpu-0 cannot pull: ErrImagePull: manifest unknown" in message(life)
        assert "ImageUnavailable" in life.event_reasons()

        life.edit({"image": None})
        await life.settle(QUIET)
        assert (life.reason(), life.reason("ImagesPulled")) == ("Ready", "")
        assert life.daemon_sets.daemon_sets() == []

    play(scenario)


def test_a_corrected_image_is_pulled_by_pods_of_its_own() -> None:
    async def scenario(life: Life) -> None:
        await serving(life)
        life.daemon_sets.failure = lambda _node, image: NO_SUCH_IMAGE if image != NEW else ""
        life.edit({"image": "registry.example.com/server:typo"})
        await asyncio.sleep(2_000)

        life.edit({"image": NEW})
        await asyncio.sleep(60)
        assert "0 of 3 nodes" in message(life)  # and the time began anew

        await life.settle(QUIET)
        assert images(life) == {NEW}
        assert life.daemon_sets.daemon_sets() == []

    play(scenario)


def test_a_node_that_cannot_pull_delays_the_edit_only_for_some_time() -> None:
    async def scenario(life: Life) -> None:
        await serving(life, {"rollout": {"prepull": "BeforeRollout", "prepullSeconds": 600}})
        life.daemon_sets.failure = lambda node, _image: "disk full" if node == "gpu-1" else ""

        life.edit({"image": NEW})
        await asyncio.sleep(500)
        assert images(life) == {CONTEXT.server_image}
        assert "2 of 3 nodes have pulled" in message(life)
        assert "node gpu-1 cannot pull: ErrImagePull: disk full" in message(life)

        await life.settle(QUIET)
        assert images(life) == {NEW}
        assert "PrepullIncomplete" in life.event_reasons()
        assert life.reason() == "Ready"
        assert life.daemon_sets.daemon_sets() == []

    play(scenario)


def test_nodes_that_are_only_slow_delay_the_edit_only_for_some_time() -> None:
    async def scenario(life: Life) -> None:
        await serving(life, {"rollout": {"prepull": "BeforeRollout", "prepullSeconds": 600}})
        life.daemon_sets.pull_seconds = 100_000

        life.edit({"image": NEW})
        await asyncio.sleep(590)
        assert images(life) == {CONTEXT.server_image}

        await life.settle(QUIET)
        assert images(life) == {NEW}

    play(scenario)


def test_a_quota_that_rejects_the_pods_is_quoted() -> None:
    async def scenario(life: Life) -> None:
        await serving(life)
        life.daemon_sets.pod_error = "exceeded quota: pods"
        life.edit({"image": NEW})
        await asyncio.sleep(5)
        (daemon_set,) = life.daemon_sets.daemon_sets()
        life.objects.create(
            kinds.EVENT,
            {
                "metadata": {"name": "failed", "namespace": daemon_set["metadata"]["namespace"]},
                "involvedObject": {"uid": daemon_set["metadata"]["uid"]},
                "type": "Warning",
                "reason": "FailedCreate",
                "message": "Error creating: exceeded quota: pods",
                "lastTimestamp": life.now(),
            },
        )
        await asyncio.sleep(60)
        assert "rejects pods that pull: Error creating: exceeded quota: pods" in message(life)

        await life.settle(QUIET)
        assert images(life) == {NEW}

    play(scenario)


@pytest.mark.parametrize(
    "spec",
    [
        {"rollout": {"prepull": "Never"}},
        {"suspend": True},
        {"replicas": 0},
        {"pod": {"nodeSelector": {"pool": "none"}}},
    ],
    ids=["not wanted", "suspended", "no replicas", "no node fits"],
)
def test_an_edit_is_applied_at_once_where_no_pull_could_help(spec: Object) -> None:
    async def scenario(life: Life) -> None:
        await serving(life, spec)

        life.edit({"image": NEW})
        await asyncio.sleep(5)

        template = life.deployment()["spec"]["template"]["spec"]
        assert template["containers"][0]["image"] == NEW
        assert Write("apply", "DaemonSet", "small-prepull") not in life.api.writes
        assert life.daemon_sets.daemon_sets() == []

    play(scenario)


def test_an_edit_without_another_image_does_not_wait() -> None:
    async def scenario(life: Life) -> None:
        await serving(life)

        life.edit({"startupSeconds": 900})
        await life.settle(QUIET)

        assert life.reason() == "Ready"
        assert life.daemon_sets.pulled == set()

    play(scenario)


def test_the_first_start_does_not_wait() -> None:
    async def scenario(life: Life) -> None:
        await serving(life)

        assert life.reason() == "Ready"
        assert life.daemon_sets.pulled == set()

    play(scenario)


def test_replicas_follow_while_an_edit_waits() -> None:
    async def scenario(life: Life) -> None:
        await serving(life)
        life.daemon_sets.failure = lambda _node, _image: NO_SUCH_IMAGE
        life.edit({"image": NEW})
        await asyncio.sleep(60)

        life.edit({"replicas": 3})
        await asyncio.sleep(60)
        assert [is_ready(pod) for pod in life.pods()] == [True] * 3
        assert images(life) == {CONTEXT.server_image}

        life.edit({"suspend": True})
        await life.settle(QUIET)
        assert life.pods() == []
        assert (life.reason(), life.daemon_sets.daemon_sets()) == ("Suspended", [])

    play(scenario)


def test_a_paused_edit_waits_for_its_images_and_then_for_the_end_of_the_pause() -> None:
    async def scenario(life: Life) -> None:
        await serving(life)
        life.edit({"image": NEW})
        await asyncio.sleep(60)

        life.edit({"rollout": {"paused": True}})
        await life.settle(QUIET)
        assert (images(life), life.daemon_sets.daemon_sets()) == ({CONTEXT.server_image}, [])
        assert life.reason("Progressing") == "Paused"

        life.edit({"rollout": {"paused": False}})
        await life.settle(QUIET)
        assert (images(life), life.daemon_sets.daemon_sets()) == ({NEW}, [])

    play(scenario)


def test_a_deployment_that_is_deleted_while_an_edit_waits_is_created_with_it() -> None:
    async def scenario(life: Life) -> None:
        await serving(life)
        life.edit({"image": NEW})
        await asyncio.sleep(60)

        life.objects.delete(
            kinds.DEPLOYMENT, next(k for kind, k in life.objects.stored if kind == kinds.DEPLOYMENT)
        )
        await life.settle(QUIET)
        assert (images(life), life.daemon_sets.daemon_sets()) == ({NEW}, [])

    play(scenario)


def test_what_is_scaled_to_zero_is_edited_when_the_nodes_have_pulled() -> None:
    async def scenario(life: Life) -> None:
        life.activators = ("10.0.0.8",)
        await serving(life, {"autoscaling": {"minReplicas": 0, "maxReplicas": 2}})
        await life.settle(QUIET)
        assert life.pods() == []

        life.edit({"image": NEW})
        await asyncio.sleep(60)
        template = life.deployment()["spec"]["template"]["spec"]
        assert template["containers"][0]["image"] == CONTEXT.server_image
        assert (life.reason(), life.reason("ImagesPulled")) == ("Asleep", "Prepulling")

        await life.settle(QUIET)
        template = life.deployment()["spec"]["template"]["spec"]
        assert template["containers"][0]["image"] == NEW
        assert life.daemon_sets.daemon_sets() == []

    play(scenario)


def test_activators_take_over_only_when_the_nodes_have_pulled() -> None:
    async def scenario(life: Life) -> None:
        life.activators = ("10.0.0.8",)
        await serving(life)
        life.edit({"image": NEW})
        await asyncio.sleep(60)
        assert (life.reason("Holding"), life.reason()) == ("", "Prepulling")

        await life.settle(QUIET)
        assert "Holding" in life.event_reasons()
        assert images(life) == {NEW}

    play(scenario)


def test_a_deleted_resource_takes_the_pods_that_pull_with_it() -> None:
    async def scenario(life: Life) -> None:
        await serving(life)
        life.edit({"image": NEW})
        await asyncio.sleep(60)

        life.delete()
        await life.settle(QUIET)

        assert life.daemon_sets.daemon_sets() == []
        assert list(life.objects.all(kinds.POD)) == []

    play(scenario)


def test_a_node_that_is_lost_meanwhile_is_not_waited_for() -> None:
    async def scenario(life: Life) -> None:
        await serving(life)
        life.daemon_sets.failure = lambda node, _image: "unreachable" if node == "gpu-2" else ""
        life.edit({"image": NEW})
        await asyncio.sleep(200)
        assert images(life) == {CONTEXT.server_image}

        down = {"conditions": [{"type": "Ready", "status": "Unknown"}]}
        (key,) = [k for kind, k in life.objects.stored if kind == kinds.NODE and k.name == "gpu-2"]
        life.objects.update(
            kinds.NODE, key, lambda body: {**body, "status": {**body["status"], **down}}
        )
        await life.settle(QUIET)
        assert images(life) == {NEW}

    play(scenario)
